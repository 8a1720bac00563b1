import { ApiProperty } from '@nestjs/swagger';
import type { BackupDamageRow, BackupDiskRow, BackupReadModel, BackupRow, FoldedBackup } from '../../../../../projections/backups/backups.read-model.js';

const BACKUP_ID = '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11';
const STATUSES = ['pending', 'running', 'completed', 'failed', 'cancelled', 'deleted'];
const PHASES = ['queued', 'preparing', 'snapshot', 'transfer', 'stalled', 'sealing', 'completed', 'failed', 'cancelled', 'deleted'];

export class DiskErrorResponse {
  @ApiProperty({ example: 'connection_refused' }) readonly code!: string;
  @ApiProperty({ example: 'nbdcopy: connect to 127.0.0.1:10100: Connection refused' }) readonly detail!: string;
}

export class DiskResultResponse {
  @ApiProperty({ description: 'Index of the disk, from 0, in the order of the source', example: 0 }) readonly disk_id!: number;
  @ApiProperty({ description: 'Stable name of the disk at its source', example: 'disk0.qcow2' }) readonly disk_key!: string;
  @ApiProperty({ type: Number, nullable: true, example: 10100 }) readonly nbd_port!: number | null;
  @ApiProperty({ type: String, nullable: true, example: 'backup-pgtest1-disk0-full-20261121T103000Z' }) readonly nbd_export_name!: string | null;
  @ApiProperty({
    type: String,
    nullable: true,
    description: 'Path of the file on the hub: while it is being written, and once sealed its final path',
    example: '/srv/backups/pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11/disk-0.qcow2',
  })
  readonly qcow2_path!: string | null;
  @ApiProperty({ type: Number, nullable: true, description: 'Process id of the qemu-nbd that currently serves the disk', example: 48211 })
  readonly qemu_nbd_pid!: number | null;
  @ApiProperty({
    type: String,
    nullable: true,
    description: 'Why the disk is copied whole: the reason for the full, or `disk_added` for a new disk in an incremental; null: only its changes are copied',
    example: 'first_backup',
  })
  readonly full_reason!: string | null;
  @ApiProperty({ enum: ['pending', 'running', 'completed', 'failed'], example: 'completed' }) readonly status!: string;
  @ApiProperty({ example: 1073741824 }) readonly bytes_transferred!: number;
  @ApiProperty({ description: 'Bytes that this backup transfers for the disk; 0 until the transfer starts', example: 1073741824 })
  readonly total_bytes!: number;
  @ApiProperty({ type: Number, nullable: true, description: 'Length of the sealed QCOW2 file', example: 1074135040 })
  readonly size_bytes!: number | null;
  @ApiProperty({ description: 'Size of the disk as the guest sees it', example: 2147483648 }) readonly virtual_size_bytes!: number;
  @ApiProperty({
    type: String,
    nullable: true,
    description: 'SHA-256 of the sealed QCOW2 file',
    example: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  })
  readonly sha256!: string | null;
  @ApiProperty({ type: String, nullable: true, description: 'Identifies, at the source, all changes since this backup', example: 'sendense-0e5b7a11' })
  readonly change_id!: string | null;
  @ApiProperty({ type: DiskErrorResponse, nullable: true, example: null }) readonly error!: DiskErrorResponse | null;
}

export class BackupErrorResponse {
  @ApiProperty({ description: 'Stable code for the cause', example: 'node_silent' }) readonly code!: string;
  @ApiProperty({ enum: ['queued', 'planning', 'preparing', 'snapshot', 'transfer', 'sealing'], example: 'transfer' }) readonly stage!: string;
  @ApiProperty({ example: 'No report on the transfer arrived for 300 s.' }) readonly detail!: string;
}

export const DAMAGE_CODES = ['file_missing', 'file_truncated', 'file_altered', 'parent_missing', 'parent_truncated', 'parent_altered'] as const;
type DamageCode = (typeof DAMAGE_CODES)[number];

export class BackupDamageResponse {
  @ApiProperty({
    enum: DAMAGE_CODES,
    description: "Stable code for the damage: `file_...` concerns the restore point's own files, `parent_...` those of a restore point it depends on",
    example: 'file_truncated',
  })
  readonly code!: DamageCode;
  @ApiProperty({ example: 'disk-0.qcow2 has 100 bytes, 1074135040 were sealed' }) readonly detail!: string;
  @ApiProperty({
    type: String,
    nullable: true,
    description: 'The damaged file, relative to the repository; null if the damage concerns the restore point as a whole',
    example: 'pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11/disk-0.qcow2',
  })
  readonly file!: string | null;
  @ApiProperty({ example: '2026-11-21T11:30:00.000Z' }) readonly detected_at!: string;
  @ApiProperty({ type: String, nullable: true, description: 'The verification that found the damage; null: a backup or a restore found it', example: null })
  readonly verification_id!: string | null;
  @ApiProperty({
    type: String,
    nullable: true,
    description: 'The damaged restore point that this one depends on; null: this one itself is damaged',
    example: null,
  })
  readonly caused_by_backup_id!: string | null;
}

export class QuiesceResponse {
  @ApiProperty({ enum: ['quiesced', 'not_quiesced'], example: 'quiesced' }) readonly outcome!: NonNullable<BackupRow['quiesce']>['outcome'];
  @ApiProperty({
    description: 'Explanation for people, with the reason if the file systems were not frozen',
    example: '1 file system of the guest was frozen for 212 ms.',
  })
  readonly detail!: string;
}

export class LeftOutDiskResponse {
  @ApiProperty({ example: 'sda' }) readonly disk_key!: string;
  @ApiProperty({ description: 'Stable code, as in the discovery: `cdrom`, `read_only`, `shared`, ...', example: 'cdrom' }) readonly reason!: string;
  @ApiProperty({ example: 'It is a CD-ROM drive.' }) readonly detail!: string;
}

/** A backup as all routes of the API show it. Times are ISO 8601 in UTC, sizes are in bytes. */
export class BackupResponse {
  @ApiProperty({ example: BACKUP_ID }) readonly backup_id!: string;
  @ApiProperty({ example: '0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b' }) readonly vm_id!: string;
  @ApiProperty({ example: 'pgtest1' }) readonly vm_name!: string;
  @ApiProperty({ example: '0199a3c0-2b40-7d10-b1de-64f0a52c9e02' }) readonly repository_id!: string;
  @ApiProperty({ type: String, nullable: true, example: null }) readonly policy_id!: string | null;
  @ApiProperty({ description: 'The requested type until the backup is planned, then the actual type', enum: ['full', 'incremental', 'auto'], example: 'full' })
  readonly backup_type!: string;
  @ApiProperty({ type: String, nullable: true, description: 'Why the backup is a full; null for an incremental', example: 'first_backup' })
  readonly full_reason!: string | null;
  @ApiProperty({ type: String, nullable: true, description: 'The finding behind full_reason, if there is more to say', example: null })
  readonly full_reason_detail!: string | null;
  @ApiProperty({ type: String, nullable: true, example: null }) readonly parent_backup_id!: string | null;
  @ApiProperty({ type: String, nullable: true, example: '5d0c7b52-7a57-5f0f-8f0a-1f2e3d4c5b6a' }) readonly chain_id!: string | null;
  @ApiProperty({ enum: STATUSES, example: 'running' }) readonly status!: string;
  @ApiProperty({ enum: PHASES, example: 'transfer' }) readonly current_phase!: string;
  @ApiProperty({ enum: ['vm_busy', 'backup_limit', 'nbd_ports'], nullable: true, description: 'Why a pending backup has not started', example: null })
  readonly waiting_for!: string | null;
  @ApiProperty({ example: 50.4 }) readonly progress_percent!: number;
  @ApiProperty({ example: 1082331758 }) readonly bytes_transferred!: number;
  @ApiProperty({ example: 2147483648 }) readonly total_bytes!: number;
  @ApiProperty({ type: Number, nullable: true, description: 'Average bytes per second since the transfer began', example: 262144000 })
  readonly transfer_speed_bps!: number | null;
  @ApiProperty({ type: Number, nullable: true, example: 5 }) readonly eta_seconds!: number | null;
  @ApiProperty({ type: [DiskResultResponse] }) readonly disk_results!: DiskResultResponse[];
  @ApiProperty({
    type: String,
    nullable: true,
    description:
      'One <disk_key>:<URI> per disk, separated by commas. The URI is nbds://<host>:<port>/<export_name>, a TLS port that accepts only the key of that export, or nbd+unix:///<export_name>?socket=<path> if hub and node run on the same machine',
    example: 'disk0.qcow2:nbds://127.0.0.1:10100/backup-pgtest1-disk0-full-20261121T103000Z',
  })
  readonly nbd_targets_string!: string | null;
  @ApiProperty({ type: BackupErrorResponse, nullable: true, example: null }) readonly error!: BackupErrorResponse | null;
  @ApiProperty({
    type: BackupDamageResponse,
    nullable: true,
    description: 'Why the restore point cannot be trusted; null: no damage is known',
    example: null,
  })
  readonly damage!: BackupDamageResponse | null;
  @ApiProperty({
    type: QuiesceResponse,
    nullable: true,
    description: "Whether the guest's file systems were frozen at the instant; null: not requested, the guest was not running, or not known yet",
    example: null,
  })
  readonly quiesce!: QuiesceResponse | null;
  @ApiProperty({ type: [LeftOutDiskResponse], description: 'Devices of the VM that are not part of the backup; known once it is planned' })
  readonly left_out_disks!: LeftOutDiskResponse[];
  @ApiProperty({
    type: String,
    nullable: true,
    description: 'Folder of the restore point in the repository',
    example: 'pgtest1-3c1f0e5b/20261121T103000Z-full-0e5b7a11',
  })
  readonly folder!: string | null;
  @ApiProperty({ type: String, nullable: true, description: 'The instant common to all disks', example: '2026-11-21T10:30:02.120Z' })
  readonly snapshot_instant!: string | null;
  @ApiProperty({ example: '2026-11-21T10:30:00.000Z' }) readonly created_at!: string;
  @ApiProperty({ type: String, nullable: true, example: '2026-11-21T10:30:00.410Z' }) readonly started_at!: string | null;
  @ApiProperty({ type: String, nullable: true, description: 'When the backup ended, whatever the outcome', example: null }) readonly completed_at!:
    string | null;
  @ApiProperty({ description: 'Position of the last event reflected in this response; opaque', example: '0000000000000000042' }) readonly position!: string;
}

/** A row of the read model, or a row folded from the backup's events. */
export type BackupRecord = BackupReadModel | FoldedBackup;

export function toBackupResponse(record: BackupRecord): BackupResponse {
  return {
    backup_id: record.backup_id,
    vm_id: record.vm_id,
    vm_name: record.vm_name,
    repository_id: record.repository_id,
    policy_id: record.policy_id,
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
    folder: record.folder,
    snapshot_instant: isoOrNull(record.instant),
    created_at: iso(record.created_at),
    started_at: isoOrNull(record.started_at),
    completed_at: isoOrNull(record.completed_at),
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

function iso(time: Date | string): string {
  return typeof time === 'string' ? time : time.toISOString();
}

function isoOrNull(time: Date | string | null): string | null {
  return time === null ? null : iso(time);
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
