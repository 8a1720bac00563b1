import type { ImageChain } from '../../../lib/qemu/image-chain.plan.js';
import type { ProcessIdentity } from '../../../lib/process/process-supervisor.port.js';

export type MountDriverName = 'fuse' | 'nbd' | 'guestfs';

export interface MountOrder {
  /** Absolute path of a folder that belongs to this mount alone; made where it is missing. All that the mount needs is kept in it. */
  readonly directory: string;
  /** The files of the disk. */
  readonly chain: ImageChain;
  /** Number of a partition as `partitions` of a mounted disk names it; null: the largest file system that can be mounted. */
  readonly partition: number | null;
}

/** A place on the disk where a file system was looked for. */
export type DiskPartition = {
  /** 0: the whole disk, which has no partition table. From 1: as in the partition table. From 1001: logical volumes, in the order of their names. */
  readonly number: number;
  /** As people name it, for example `partition 1` or `/dev/vg0/root`. */
  readonly name: string;
  /** In bytes from the start of the disk; null for a logical volume. */
  readonly start_bytes: number | null;
  readonly size_bytes: number | null;
  /** Name given in the partition table; null without one. */
  readonly label: string | null;
  /** As blkid names it: `ext4`, `xfs`, `ntfs`, `crypto_LUKS`, `LVM2_member`; null where none is known. */
  readonly filesystem_type: string | null;
  readonly filesystem_label: string | null;
};

/** Something of the machine that a mount uses. pid, process_start_ticks and boot_id are set for a process, and together name it for good. */
export type MountResource = {
  readonly kind: 'process' | 'loop_device' | 'nbd_device' | 'mount_point';
  readonly name: string;
  readonly pid: number | null;
  readonly process_start_ticks: string | null;
  readonly boot_id: string | null;
};

export interface MountedDisk {
  readonly driver: MountDriverName;
  /** What is mounted: a loop device, or a device within the sandbox. */
  readonly device: string;
  readonly mountPath: string;
  readonly filesystemType: string;
  /** Number of the one that is mounted. */
  readonly partition: number;
  readonly partitions: readonly DiskPartition[];
  readonly resources: readonly MountResource[];
}

/**
 * - `mount_driver_unavailable`: the machine lacks what the driver needs
 * - `repository_unavailable`, `restore_point_being_checked`: the files cannot be looked at just now
 * - `restore_point_unreadable`: the QCOW2 file or one of its backing files cannot be opened
 * - `partition_not_found`: there is no partition of that number
 * - `filesystem_not_found`: nothing on the disk is known as a file system
 * - `filesystem_encrypted`: it is, and nobody has its key
 * - `filesystem_unsupported`: this driver cannot mount its kind
 * - `filesystem_damaged`: its kind is known, but it does not mount
 * - `mount_timed_out`: a tool was abandoned at its deadline
 * - `mount_interrupted`: the hub stopped
 * - `mount_failed`: anything else that went wrong
 */
export type MountErrorCode =
  | 'mount_driver_unavailable'
  | 'repository_unavailable'
  | 'restore_point_being_checked'
  | 'restore_point_unreadable'
  | 'partition_not_found'
  | 'filesystem_not_found'
  | 'filesystem_encrypted'
  | 'filesystem_unsupported'
  | 'filesystem_damaged'
  | 'mount_timed_out'
  | 'mount_interrupted'
  | 'mount_failed';

/** A disk could not be mounted. What had come about by then is still there: release it. */
export class MountError extends Error {
  override readonly name = 'MountError';
  constructor(
    readonly code: MountErrorCode,
    message: string,
    /** What was found on the disk by then. */
    readonly partitions: readonly DiskPartition[] = [],
  ) {
    super(message);
  }
}

export type DriverAvailability = { readonly available: true } | { readonly available: false; readonly reason: string };

/** Opens a restore point's disk read-only and shows one of its file systems in a folder: `ro,nosuid,nodev,noexec`, and no journal is ever replayed. */
export abstract class MountDriver {
  abstract readonly name: MountDriverName;

  abstract availability(): Promise<DriverAvailability>;

  /**
   * Whatever it leaves, also when it throws or its process dies, is found by its folder and removed by MountRelease.
   * @throws MountError; or the reason of the signal when that was aborted
   */
  abstract mount(order: MountOrder, signal: AbortSignal): Promise<MountedDisk>;
}

export function processResource(name: string, identity: ProcessIdentity): MountResource {
  return { kind: 'process', name, pid: identity.pid, process_start_ticks: identity.start_ticks, boot_id: identity.boot_id };
}

export function namedResource(kind: 'loop_device' | 'nbd_device' | 'mount_point', name: string): MountResource {
  return { kind, name, pid: null, process_start_ticks: null, boot_id: null };
}
