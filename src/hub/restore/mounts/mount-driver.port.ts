import type { ImageChain } from '../../../lib/qemu/image-chain.plan.js';
import type { ProcessIdentity } from '../../../lib/process/process-supervisor.port.js';

export type MountDriverName = 'fuse' | 'nbd' | 'guestfs';

export interface MountOrder {
  /** Absolute path of a directory used by this mount alone; created if missing. Holds everything the mount needs. */
  readonly directory: string;
  /** The files of the disk. */
  readonly chain: ImageChain;
  /** Partition number as in `partitions` of a mounted disk; null: the largest file system that can be mounted. */
  readonly partition: number | null;
}

/** A part of the disk that was probed for a file system. */
export type DiskPartition = {
  /** 0: the whole disk, without a partition table. From 1: as in the partition table. From 1001: logical volumes, in the order of their names. */
  readonly number: number;
  /** Display name, for example `partition 1` or `/dev/vg0/root`. */
  readonly name: string;
  /** In bytes from the start of the disk; null for a logical volume. */
  readonly start_bytes: number | null;
  readonly size_bytes: number | null;
  /** Name in the partition table; null without one. */
  readonly label: string | null;
  /** As blkid names it: `ext4`, `xfs`, `ntfs`, `crypto_LUKS`, `LVM2_member`; null if unknown. */
  readonly filesystem_type: string | null;
  readonly filesystem_label: string | null;
};

/** A resource of the machine used by a mount. pid, process_start_ticks and boot_id are set for a process, and together identify it permanently. */
export type MountResource = {
  readonly kind: 'process' | 'loop_device' | 'nbd_device' | 'mount_point';
  readonly name: string;
  readonly pid: number | null;
  readonly process_start_ticks: string | null;
  readonly boot_id: string | null;
};

export interface MountedDisk {
  readonly driver: MountDriverName;
  /** The mounted device: a loop device, or a device inside the sandbox. */
  readonly device: string;
  readonly mountPath: string;
  readonly filesystemType: string;
  /** Number of the mounted partition. */
  readonly partition: number;
  readonly partitions: readonly DiskPartition[];
  readonly resources: readonly MountResource[];
}

/**
 * - `mount_driver_unavailable`: the machine lacks a requirement of the driver
 * - `repository_unavailable`, `restore_point_being_checked`: the files cannot be checked at the moment
 * - `restore_point_unreadable`: the QCOW2 file or one of its backing files cannot be opened
 * - `partition_not_found`: the disk has no partition with that number
 * - `filesystem_not_found`: no known file system is on the disk
 * - `filesystem_encrypted`: the volume is encrypted, and the key is not available
 * - `filesystem_unsupported`: the driver cannot mount this type
 * - `filesystem_damaged`: the type is supported, but mounting fails
 * - `mount_timed_out`: a tool was abandoned at its deadline
 * - `mount_interrupted`: the hub stopped
 * - `mount_failed`: any other failure
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

/** A disk could not be mounted. Resources created before the failure remain and must be released. */
export class MountError extends Error {
  override readonly name = 'MountError';
  constructor(
    readonly code: MountErrorCode,
    message: string,
    /** Partitions found before the failure. */
    readonly partitions: readonly DiskPartition[] = [],
  ) {
    super(message);
  }
}

export type DriverAvailability = { readonly available: true } | { readonly available: false; readonly reason: string };

/** Opens a restore point's disk read-only and mounts one of its file systems in a directory: `ro,nosuid,nodev,noexec`. No journal is ever replayed. */
export abstract class MountDriver {
  abstract readonly name: MountDriverName;

  abstract availability(): Promise<DriverAvailability>;

  /**
   * MountRelease finds and removes everything a mount leaves by its directory, even if this throws or the process dies.
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
