import type { RestoreMountReadModel } from '../../../../../projections/restore-mounts/restore-mounts.read-model.js';
import type { MountOutcome } from './restore-mount.commands.js';
import type { MountDriverName, UnmountReason } from './restore-mount.events.js';

export class MountPartitionResponse {
  /** 0: the whole disk; from 1001: logical volumes @integer @example 1 */ readonly number!: number;
  /** @example "partition 1" */ readonly name!: string;
  /** @integer @example 1048576 */ readonly start_bytes!: number | null;
  /** @integer @example 21473787904 */ readonly size_bytes!: number | null;
  /** Name in the partition table @example "root" */ readonly label!: string | null;
  /** null: unknown @example "ext4" */ readonly filesystem_type!: string | null;
  /** @example "rootfs" */ readonly filesystem_label!: string | null;
}

export class MountErrorResponse {
  /** @example "filesystem_encrypted" */ readonly code!: string;
  /** @example "partition 1 is encrypted (crypto_LUKS) and cannot be read without its key" */ readonly detail!: string;
}

/** A mount as returned by every route. */
export class RestoreMountResponse {
  /** @format uuid @example "5a2f3c1e-0b7d-5e11-9a3c-64f0a52c9e02" */ readonly mount_id!: string;
  /** @format uuid @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly backup_id!: string;
  /** @format uuid @example "0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b" */ readonly vm_id!: string;
  /** @example "pgtest1" */ readonly vm_name!: string;
  /** @integer @example 0 */ readonly disk_index!: number;
  /** Number of the mounted partition; 0: a whole disk without a partition table @integer @example 1 */
  readonly partition!: number | null;
  readonly status!: 'mounting' | 'mounted' | 'unmounting' | 'failed' | 'released';
  readonly driver!: MountDriverName | null;
  /** @example "/dev/loop0" */ readonly device!: string | null;
  /** Directory on the hub @example "/var/lib/sendense/run/mounts/5a2f3c1e-0b7d-5e11-9a3c-64f0a52c9e02/fs" */
  readonly mount_path!: string | null;
  /** @example "ext4" */ readonly filesystem_type!: string | null;
  /** All partitions found on the disk */ readonly partitions!: readonly MountPartitionResponse[];
  /** Why mounting failed */ readonly error!: MountErrorResponse | null;
  readonly unmount_reason!: UnmountReason | null;
  /** @format date-time @example "2026-11-21T10:40:00.000Z" */ readonly created_at!: string;
  /**
   * Time at which an idle mount is removed. Uses are recorded at most once a minute, so the actual deadline may be up to a minute later
   * @format date-time
   * @example "2026-11-21T11:40:00.000Z"
   */
  readonly expires_at!: string | null;
  /** @format date-time @example null */ readonly released_at!: string | null;
  /** Position of the last event reflected in this answer; opaque @example "0000000000000000042" */
  readonly position!: string | null;
}

export function toRestoreMountResponse(row: RestoreMountReadModel): RestoreMountResponse {
  return {
    mount_id: row.mount_id,
    backup_id: row.backup_id,
    vm_id: row.vm_id,
    vm_name: row.vm_name,
    disk_index: row.disk_index,
    partition: row.partition,
    status: row.status,
    driver: row.driver,
    device: row.device,
    mount_path: row.mount_path,
    filesystem_type: row.filesystem_type,
    partitions: row.partitions,
    error: row.error,
    unmount_reason: row.unmount_reason,
    created_at: row.created_at.toISOString(),
    expires_at: row.expires_at?.toISOString() ?? null,
    released_at: row.released_at?.toISOString() ?? null,
    position: row.position,
  };
}

export function toNewMountResponse({ request, mount, expires_at, position }: MountOutcome): RestoreMountResponse {
  return {
    mount_id: request.mount_id,
    backup_id: request.backup_id,
    vm_id: request.vm_id,
    vm_name: request.vm_name,
    disk_index: request.disk_index,
    partition: mount.partition,
    status: 'mounted',
    driver: mount.driver,
    device: mount.device,
    mount_path: mount.mount_path,
    filesystem_type: mount.filesystem_type,
    partitions: mount.partitions,
    error: null,
    unmount_reason: null,
    created_at: request.requested_at,
    expires_at,
    released_at: null,
    position,
  };
}
