import type { DomainEvent } from '../../../../kernel/event.js';

export type MountPartition = {
  /** 0: the whole disk, without a partition table. From 1: as in the partition table. From 1001: logical volumes. */
  readonly number: number;
  readonly name: string;
  /** In bytes; null where it is not one piece of the disk. */
  readonly start_bytes: number | null;
  readonly size_bytes: number | null;
  readonly label: string | null;
  readonly filesystem_type: string | null;
  readonly filesystem_label: string | null;
};

/** Something of the hub's machine that a mount uses. The last three are set for a process, and together name it for good. */
export type MountResource = {
  readonly kind: 'process' | 'loop_device' | 'nbd_device' | 'mount_point';
  readonly name: string;
  readonly pid: number | null;
  readonly process_start_ticks: string | null;
  readonly boot_id: string | null;
};

export type MountDriverName = 'fuse' | 'nbd' | 'guestfs';

/** `hub_cleanup`: its processes or its mount had gone, or the hub found it half taken down. */
export type UnmountReason = 'requested' | 'expired' | 'hub_cleanup';

/** Intent: from here on the machine may hold processes, devices and a mount of this id. */
export type MountRequested = DomainEvent<
  'MountRequested',
  {
    readonly mount_id: string;
    readonly backup_id: string;
    readonly vm_id: string;
    readonly vm_name: string;
    readonly repository_id: string;
    readonly disk_index: number;
    /** Absolute path of the restore point's QCOW2 file. */
    readonly file: string;
    /** null: the largest file system that can be mounted. */
    readonly partition: number | null;
    /** The mount is taken down when nobody has used it for so long. */
    readonly idle_limit_seconds: number;
    /** The restore point was known to be damaged, or might be, and is shown all the same. Absent: it was not. */
    readonly allow_damaged?: boolean;
    /** ISO 8601, UTC. */
    readonly requested_at: string;
  }
>;
export type MountReady = DomainEvent<
  'MountReady',
  {
    readonly driver: MountDriverName;
    readonly device: string;
    readonly mount_path: string;
    readonly filesystem_type: string;
    /** Number of the partition that is mounted. */
    readonly partition: number;
    readonly partitions: readonly MountPartition[];
    readonly resources: readonly MountResource[];
    readonly ready_at: string;
    readonly expires_at: string;
  }
>;
/** Nothing of it is left on the machine but what `leftovers` names. */
export type MountFailed = DomainEvent<
  'MountFailed',
  {
    readonly code: string;
    readonly detail: string;
    /** What was found on the disk by then. */
    readonly partitions: readonly MountPartition[];
    readonly leftovers: readonly string[];
    readonly failed_at: string;
  }
>;
/** Somebody has used it. Recorded at most once in a while. */
export type MountAccessed = DomainEvent<'MountAccessed', { readonly accessed_at: string; readonly expires_at: string }>;
/** The mounted file system did not answer in time, and the call was given up. */
export type MountCallAbandoned = DomainEvent<'MountCallAbandoned', { readonly operation: string; readonly detail: string; readonly abandoned_at: string }>;
export type UnmountRequested = DomainEvent<
  'UnmountRequested',
  { readonly reason: UnmountReason; readonly detail: string | null; readonly requested_at: string }
>;
export type MountReleased = DomainEvent<
  'MountReleased',
  {
    /** True when it had to be taken away from under its users. */
    readonly forced: boolean;
    /** What could not be removed, in words. */
    readonly leftovers: readonly string[];
    readonly released_at: string;
  }
>;

/** Stream `restoreMount-<mount_id>`. */
export type RestoreMountEvent = MountRequested | MountReady | MountFailed | MountAccessed | MountCallAbandoned | UnmountRequested | MountReleased;

export function restoreMountStream(mountId: string): string {
  return `restoreMount-${mountId}`;
}
