import type { DomainEvent } from '../../../../kernel/event.js';

export type MountPartition = {
  /** 0: the whole disk, without a partition table. From 1: as in the partition table. From 1001: logical volumes. */
  readonly number: number;
  readonly name: string;
  /** In bytes; null if the volume is not a contiguous part of the disk. */
  readonly start_bytes: number | null;
  readonly size_bytes: number | null;
  readonly label: string | null;
  readonly filesystem_type: string | null;
  readonly filesystem_label: string | null;
};

/** A resource of the hub's machine used by a mount. The last three members are set for a process, and together identify it permanently. */
export type MountResource = {
  readonly kind: 'process' | 'loop_device' | 'nbd_device' | 'mount_point';
  readonly name: string;
  readonly pid: number | null;
  readonly process_start_ticks: string | null;
  readonly boot_id: string | null;
};

export type MountDriverName = 'fuse' | 'nbd' | 'guestfs';

/** `hub_cleanup`: its processes or its mount had gone, or the hub found it partly removed. */
export type UnmountReason = 'requested' | 'expired' | 'hub_cleanup';

/** Intent: from this event on, the machine may have processes, devices and a mount of this id. */
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
    /** Idle time after which the mount is removed. */
    readonly idle_limit_seconds: number;
    /** Mount the disk even if the restore point is damaged, or might be. Absent: damage is not accepted. */
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
    /** Number of the mounted partition. */
    readonly partition: number;
    readonly partitions: readonly MountPartition[];
    readonly resources: readonly MountResource[];
    readonly ready_at: string;
    readonly expires_at: string;
  }
>;
/** Nothing of the mount remains on the machine except `leftovers`. */
export type MountFailed = DomainEvent<
  'MountFailed',
  {
    readonly code: string;
    readonly detail: string;
    /** Partitions found before the failure. */
    readonly partitions: readonly MountPartition[];
    readonly leftovers: readonly string[];
    readonly failed_at: string;
  }
>;
/** The mount was used. Recorded at a limited rate. */
export type MountAccessed = DomainEvent<'MountAccessed', { readonly accessed_at: string; readonly expires_at: string }>;
/** The mounted file system did not answer in time, and the call was abandoned. */
export type MountCallAbandoned = DomainEvent<'MountCallAbandoned', { readonly operation: string; readonly detail: string; readonly abandoned_at: string }>;
export type UnmountRequested = DomainEvent<
  'UnmountRequested',
  { readonly reason: UnmountReason; readonly detail: string | null; readonly requested_at: string }
>;
export type MountReleased = DomainEvent<
  'MountReleased',
  {
    /** True when the mount had to be removed while in use. */
    readonly forced: boolean;
    /** Descriptions of resources that could not be removed. */
    readonly leftovers: readonly string[];
    readonly released_at: string;
  }
>;

/** Stream `restoreMount-<mount_id>`. */
export type RestoreMountEvent = MountRequested | MountReady | MountFailed | MountAccessed | MountCallAbandoned | UnmountRequested | MountReleased;

export function restoreMountStream(mountId: string): string {
  return `restoreMount-${mountId}`;
}
