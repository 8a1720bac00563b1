import type { BackupDamageRow, BackupDiskRow, BackupReadModel, BackupRow } from '../../../../../projections/backups/backups.read-model.js';

export class DiskErrorResponse {
  /** @example "connection_refused" */ readonly code!: string;
  /** @example "nbdcopy: connect to 127.0.0.1:10100: Connection refused" */ readonly detail!: string;
}

export class DiskResultResponse {
  /** Index of the disk, from 0, in the order of the source @example 0 */ readonly disk_id!: number;
  /** Stable name of the disk at its source @example "disk0.qcow2" */ readonly disk_key!: string;
  /** @example 10100 */ readonly nbd_port!: number | null;
  /** @example "backup-pgtest1-disk0-full-20261121T103000Z" */ readonly nbd_export_name!: string | null;
  /**
   * Path at which the file was written, and once sealed its final path. If the repository has been moved since, the file is below its new path.
   * @example "/srv/backups/pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11/disk-0.qcow2"
   */
  readonly qcow2_path!: string | null;
  /** Process id of the qemu-nbd that currently serves the disk @example 48211 */ readonly qemu_nbd_pid!: number | null;
  /**
   * Why the disk is copied whole: the reason for the full, or `disk_added` for a new disk in an incremental; null: only its changes are copied
   * @example "first_backup"
   */
  readonly full_reason!: string | null;
  readonly status!: 'pending' | 'running' | 'completed' | 'failed';
  /** @example 1073741824 */ readonly bytes_transferred!: number;
  /** Bytes that this backup transfers for the disk; 0 until the transfer starts @example 1073741824 */
  readonly total_bytes!: number;
  /** Length of the sealed QCOW2 file @example 1074135040 */ readonly size_bytes!: number | null;
  /** Size of the disk as the guest sees it @example 2147483648 */ readonly virtual_size_bytes!: number;
  /** SHA-256 of the sealed QCOW2 file @example "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" */
  readonly sha256!: string | null;
  /** Identifies, at the source, all changes since this backup @example "sendense-0e5b7a11" */
  readonly change_id!: string | null;
  readonly error!: DiskErrorResponse | null;
}

export class BackupErrorResponse {
  /** Stable code for the cause @example "node_silent" */ readonly code!: string;
  readonly stage!: 'queued' | 'planning' | 'preparing' | 'snapshot' | 'transfer' | 'sealing';
  /** @example "No report on the transfer arrived for 300 s." */ readonly detail!: string;
}

export type DamageCode = 'file_missing' | 'file_truncated' | 'file_altered' | 'parent_missing' | 'parent_truncated' | 'parent_altered';

export class BackupDamageResponse {
  /** Stable code for the damage: `file_...` concerns the restore point's own files, `parent_...` those of a restore point it depends on */
  readonly code!: DamageCode;
  /** @example "disk-0.qcow2 has 100 bytes, 1074135040 were sealed" */ readonly detail!: string;
  /**
   * The damaged file, relative to the repository; null if the damage concerns the restore point as a whole
   * @example "pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11/disk-0.qcow2"
   */
  readonly file!: string | null;
  /** @example "2026-11-21T11:30:00.000Z" */ readonly detected_at!: string;
  /** The verification that found the damage; null: a backup or a restore found it @example null */
  readonly verification_id!: string | null;
  /** The damaged restore point that this one depends on; null: this one itself is damaged @example null */
  readonly caused_by_backup_id!: string | null;
}

export class QuiesceResponse {
  readonly outcome!: NonNullable<BackupRow['quiesce']>['outcome'];
  /** Explanation for people, with the reason if the file systems were not frozen @example "1 file system of the guest was frozen for 212 ms." */
  readonly detail!: string;
}

export class LeftOutDiskResponse {
  /** @example "sda" */ readonly disk_key!: string;
  /** Stable code, as in the discovery: `cdrom`, `read_only`, `shared`, ... @example "cdrom" */
  readonly reason!: string;
  /** @example "It is a CD-ROM drive." */ readonly detail!: string;
}

export class ProtectionResponse {
  /** @example "Before the migration to version 12." */ readonly reason!: string;
  /** @example "api:alice" */ readonly by!: string;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly at!: string;
}

export class ExpiryReasonResponse {
  /** The rule that does not keep it */
  readonly rule!: 'keep_last' | 'keep_within' | 'keep_daily' | 'keep_weekly' | 'keep_monthly' | 'keep_yearly';
  /** `exceeded`: enough newer ones are kept, or it is too old. `not_first`: another restore point is the daily, weekly, ... of its period */
  readonly outcome!: 'exceeded' | 'not_first';
  /** The day, ISO week, month or year; null: the rule has no periods @example "2026-W47" */ readonly period!: string | null;
}

export class ExpiryResponse {
  /** @example "0199a3c0-5511-7c3e-8a55-9b1d3c1f0e5b" */ readonly policy_id!: string;
  /** The version of the policy whose rules decided @example 1 */ readonly policy_version!: number;
  /** For each rule, why it does not keep the restore point */ readonly reasons!: ExpiryReasonResponse[];
  /** @example "2026-11-21T22:05:00.000Z" */ readonly expired_at!: string;
  /** Until then the files stay in any case, and pinning takes the expiry back @example "2026-11-22T22:05:00.000Z" */
  readonly grace_until!: string;
  /** Later restore points that need its files, so that they stay until pruning; null: none was found when the grace period ended @example null */
  readonly needed_by!: string[] | null;
}

/** A backup as all routes of the API show it. Times are ISO 8601 in UTC, sizes are in bytes. */
export class BackupResponse {
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly backup_id!: string;
  /** @example "0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b" */ readonly vm_id!: string;
  /** @example "pgtest1" */ readonly vm_name!: string;
  /** @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */ readonly repository_id!: string;
  /** @example null */ readonly policy_id!: string | null;
  /** The version of the policy that the backup follows @example null */ readonly policy_version!: number | null;
  /** The requested type until the backup is planned, then the actual type */ readonly backup_type!: 'full' | 'incremental' | 'auto';
  /** Why the backup is a full; null for an incremental @example "first_backup" */ readonly full_reason!: string | null;
  /** The finding behind full_reason, if there is more to say @example null */
  readonly full_reason_detail!: string | null;
  /** @example null */ readonly parent_backup_id!: string | null;
  /** @example "5d0c7b52-7a57-5f0f-8f0a-1f2e3d4c5b6a" */ readonly chain_id!: string | null;
  readonly status!: 'pending' | 'running' | 'completed' | 'failed' | 'cancelled' | 'deleted';
  readonly current_phase!:
    'queued' | 'planning' | 'preparing' | 'snapshot' | 'transfer' | 'stalled' | 'sealing' | 'completed' | 'failed' | 'cancelled' | 'deleted';
  /** Why a pending backup has not started */ readonly waiting_for!: 'vm_busy' | 'backup_limit' | 'nbd_ports' | null;
  /** @example 50.4 */ readonly progress_percent!: number;
  /** @example 1082331758 */ readonly bytes_transferred!: number;
  /** @example 2147483648 */ readonly total_bytes!: number;
  /** Average bytes per second since the transfer began @example 262144000 */
  readonly transfer_speed_bps!: number | null;
  /** @example 5 */ readonly eta_seconds!: number | null;
  readonly disk_results!: DiskResultResponse[];
  /**
   * One <disk_key>:<URI> per disk, separated by commas. The URI is nbds://<host>:<port>/<export_name>, a TLS port that accepts only the key of that export,
   * or nbd+unix:///<export_name>?socket=<path> if hub and node run on the same machine
   * @example "disk0.qcow2:nbds://127.0.0.1:10100/backup-pgtest1-disk0-full-20261121T103000Z"
   */
  readonly nbd_targets_string!: string | null;
  readonly error!: BackupErrorResponse | null;
  /** Why the restore point cannot be trusted; null: no damage is known */
  readonly damage!: BackupDamageResponse | null;
  /** Whether the guest's file systems were frozen at the instant; null: not requested, the guest was not running, or not known yet */
  readonly quiesce!: QuiesceResponse | null;
  /** Devices of the VM that are not part of the backup; known once it is planned */
  readonly left_out_disks!: LeftOutDiskResponse[];
  /** What the restore point is the first good one of, among those of its VM and policy */
  readonly tiers!: ('daily' | 'weekly' | 'monthly' | 'yearly')[];
  /** A pinned restore point does not expire and cannot be deleted; null: not pinned */
  readonly pin!: ProtectionResponse | null;
  /** As a pin, and independent of it; null: not held */
  readonly hold!: ProtectionResponse | null;
  /** The retention of its policy does not keep the restore point; null: it has not expired */
  readonly expiry!: ExpiryResponse | null;
  /** The restore point is not removed before; null: it was never locked @example "2026-12-21T10:30:03.000Z" */
  readonly locked_until!: string | null;
  /** Folder of the restore point in the repository @example "pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11" */
  readonly folder!: string | null;
  /** The instant common to all disks @example "2026-11-21T10:30:02.120Z" */ readonly snapshot_instant!: string | null;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly created_at!: string;
  /** @example "2026-11-21T10:30:00.410Z" */ readonly started_at!: string | null;
  /** When the backup ended, whatever the outcome @example null */
  readonly completed_at!: string | null;
  /** Position of the last event reflected in this response; opaque @example "0000000000000000042" */
  readonly position!: string;
}

/** A copy of the restore point in another repository. GET /copies/{copy_id} shows all of it. */
export class CopyOfBackupResponse {
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a41" */ readonly copy_id!: string;
  /** @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e03" */ readonly repository_id!: string;
  /** A copy that is not completed is no restore point yet */ readonly status!: 'pending' | 'running' | 'completed' | 'failed' | 'cancelled' | 'deleted';
  readonly form!: 'identical' | 'flattened' | null;
  readonly damaged!: boolean;
}

/** Who keeps the restore point from being removed now. */
export class LockResponse {
  /**
   * `enforced`: its files are immutable, as just read from the file system. `advisory`: only the hub refuses to remove it. `none`: it is not locked
   */
  readonly level!: 'none' | 'advisory' | 'enforced';
  /** Of its files, as just read; `unknown`: the storage did not answer in time, or its file system has no such attribute */
  readonly immutable!: 'all' | 'some' | 'none' | 'unknown';
}

export class BackupWithCopiesResponse extends BackupResponse {
  readonly lock!: LockResponse;
  /** Copies in other repositories that are complete or under way, oldest request first */ readonly copies!: CopyOfBackupResponse[];
}

export function toBackupResponse(record: BackupReadModel): BackupResponse {
  return {
    backup_id: record.backup_id,
    vm_id: record.vm_id,
    vm_name: record.vm_name,
    repository_id: record.repository_id,
    policy_id: record.policy_id,
    policy_version: record.policy_version,
    backup_type: record.backup_type,
    full_reason: record.full_reason,
    full_reason_detail: record.full_reason_detail,
    parent_backup_id: record.parent_backup_id,
    chain_id: record.chain_id,
    status: record.status,
    current_phase: record.current_phase,
    waiting_for: record.waiting_for,
    progress_percent: record.progress_percent,
    bytes_transferred: Number(record.bytes_transferred),
    total_bytes: Number(record.total_bytes),
    transfer_speed_bps: record.transfer_speed_bps === null ? null : Number(record.transfer_speed_bps),
    eta_seconds: record.eta_seconds === null ? null : Number(record.eta_seconds),
    disk_results: record.disks.map((disk) => toDiskResult(disk, record.exports, record.full_reason)),
    nbd_targets_string: record.nbd_targets_string,
    error: record.error,
    damage: record.damage === null ? null : { ...record.damage, code: damageCode(record.damage) },
    quiesce: record.quiesce,
    left_out_disks: [...record.left_out_disks],
    tiers: [...(record.tiers ?? [])],
    pin: record.pin,
    hold: record.hold,
    expiry: record.expiry === null ? null : { ...record.expiry, reasons: [...record.expiry.reasons], needed_by: record.expiry.needed_by?.slice() ?? null },
    locked_until: record.locked_until?.toISOString() ?? null,
    folder: record.folder,
    snapshot_instant: record.instant?.toISOString() ?? null,
    created_at: record.created_at.toISOString(),
    started_at: record.started_at?.toISOString() ?? null,
    completed_at: record.completed_at?.toISOString() ?? null,
    position: record.position,
  };
}

function toDiskResult(disk: BackupDiskRow, exports: BackupRow['exports'], fullReason: string | null): DiskResultResponse {
  return {
    disk_id: disk.disk_id,
    disk_key: disk.disk_key,
    nbd_port: disk.nbd_port,
    nbd_export_name: disk.nbd_export_name,
    qcow2_path: disk.qcow2_path,
    qemu_nbd_pid: disk.export_id === null ? null : (exports[disk.export_id] ?? null),
    full_reason: fullReason ?? (disk.parent_file === null ? 'disk_added' : null),
    status: disk.status,
    bytes_transferred: disk.bytes_transferred,
    total_bytes: disk.total_bytes ?? 0,
    size_bytes: disk.size_bytes,
    virtual_size_bytes: disk.virtual_size_bytes,
    sha256: disk.sha256,
    change_id: disk.change_id,
    error: disk.error,
  };
}

/**
 * Chains record damage from the point of view of dependent restore points (`parent_...`).
 * @returns the code from the point of view of the restore point itself
 */
export function damageCode({ code, caused_by_backup_id }: Pick<BackupDamageRow, 'code' | 'caused_by_backup_id'>): DamageCode {
  if (caused_by_backup_id !== null) return code;
  switch (code) {
    case 'parent_missing':
      return 'file_missing';
    case 'parent_truncated':
      return 'file_truncated';
    case 'parent_altered':
      return 'file_altered';
  }
}
