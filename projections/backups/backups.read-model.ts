import type { ExpiryReason } from '../../src/kernel/expiry-reason.js';
import type {
  BackupStage,
  DisksLeftOut,
  FullReason,
  QuiesceReported,
  RequestedBackupType,
  SealedFile,
  Tier,
  WaitingFor,
} from '../../src/hub/backup/backups/model/backup.events.js';
import {
  bigint,
  boolean,
  double,
  instant,
  json,
  position,
  text,
  texts,
  type EntityOf,
  integer,
  readModel,
  type RowOf,
} from '../../src/hub/store/postgres/read-model-definition.js';
import type { JsonObject } from '../../src/kernel/json.js';

export type BackupStatus = 'pending' | 'running' | 'completed' | 'failed' | 'cancelled' | 'deleted';
export type BackupPhase = BackupStage | 'stalled' | 'completed' | 'failed' | 'cancelled' | 'deleted';
export type DiskStatus = 'pending' | 'running' | 'completed' | 'failed';

export type BackupDiskRow = {
  readonly disk_id: number;
  readonly disk_key: string;
  /** Size of the disk as the guest sees it, in bytes. */
  readonly virtual_size_bytes: number;
  readonly file: string;
  readonly parent_file: string | null;
  readonly parent_change_id: string | null;
  readonly export_id: string | null;
  readonly nbd_port: number | null;
  readonly nbd_export_name: string | null;
  readonly qcow2_path: string | null;
  readonly status: DiskStatus;
  readonly bytes_transferred: number;
  /** Bytes that this backup transfers for the disk; null until the transfer starts. */
  readonly total_bytes: number | null;
  /** Length of the sealed QCOW2 file in bytes. */
  readonly size_bytes: number | null;
  readonly sha256: string | null;
  readonly change_id: string | null;
  readonly error: { readonly code: string; readonly detail: string } | null;
};

/** What of a disk is more than progress: which disk it is, what it was copied from and to, what was sealed, and why it failed. */
function lastingOf({
  disk_id,
  disk_key,
  virtual_size_bytes,
  file,
  parent_file,
  parent_change_id,
  size_bytes,
  sha256,
  change_id,
  error,
}: BackupDiskRow): JsonObject {
  return { disk_id, disk_key, virtual_size_bytes, file, parent_file, parent_change_id, size_bytes, sha256, change_id, error };
}

/** Why a restore point cannot be trusted. */
export type BackupDamageRow = {
  readonly code: 'parent_missing' | 'parent_truncated' | 'parent_altered';
  readonly detail: string;
  /** Relative to the repository; null if the damage concerns the restore point as a whole, or if no file was recorded. */
  readonly file: string | null;
  readonly detected_at: string;
  /** null: something other than a verification found it. */
  readonly verification_id: string | null;
  /** The damaged restore point that this one depends on; null: this one's own files are damaged. */
  readonly caused_by_backup_id: string | null;
};

/** Why a restore point is pinned or held, and who did it when. */
export type BackupProtectionRow = { readonly reason: string; readonly by: string; readonly at: string };

export type BackupExpiryRow = {
  readonly policy_id: string;
  readonly policy_version: number;
  readonly reasons: readonly ExpiryReason[];
  readonly expired_at: string;
  readonly grace_until: string;
  /** Later restore points that need its files; null: none was found. */
  readonly needed_by: readonly string[] | null;
};

export const BackupReadModel = readModel({
  name: 'backups',
  key: 'backup_id',
  references: 'export_ids',
  tallied: 'status',
  version: 2,
  columns: {
    backup_id: text(),
    vm_id: text(),
    vm_name: text(),
    node_id: text(),
    repository_id: text(),
    policy_id: text().nullable(),
    policy_version: integer().nullable(),
    /** The requested type until the backup is planned, then the actual type. */
    backup_type: text<RequestedBackupType>(),
    status: text<BackupStatus>(),
    current_phase: text<BackupPhase>(),
    waiting_for: text<WaitingFor>().nullable(),
    waiting_detail: text().nullable(),
    full_reason: text<FullReason>().nullable(),
    full_reason_detail: text().nullable(),
    chain_id: text().nullable(),
    parent_backup_id: text().nullable(),
    folder: text().nullable(),
    files: json<readonly SealedFile[]>().nullable(),
    manifest_sha256: text().nullable(),
    instant: instant().nullable(),
    progress_percent: double().progress(),
    bytes_transferred: bigint().progress(),
    total_bytes: bigint().progress(),
    transfer_speed_bps: bigint().nullable().progress(),
    eta_seconds: bigint().nullable().progress(),
    disks: json<readonly BackupDiskRow[]>().progress((disks) => disks.map((disk) => lastingOf(disk))),
    /** qemu-nbd process of each export; null while there is none. */
    exports: json<{ readonly [exportId: string]: number | null }>().progress(),
    export_ids: texts().progress(),
    nbd_targets_string: text().nullable(),
    error: json<{ readonly code: string; readonly stage: BackupStage; readonly detail: string }>().nullable(),
    change_tracking: text<'committed' | 'discarded'>().nullable(),
    undone: boolean(),
    files_removed: boolean(),
    created_at: instant(),
    started_at: instant().nullable(),
    transfer_started_at: instant().nullable().progress(),
    silent_since: instant().nullable(),
    /** When it ended, whatever the outcome. */
    completed_at: instant().nullable(),
    deleted_at: instant().nullable(),
    damage: json<BackupDamageRow>().nullable(),
    /** Whether the guest's file systems were frozen; null: nothing was reported. */
    quiesce: json<QuiesceReported['data']>().nullable(),
    left_out_disks: json<DisksLeftOut['data']['disks']>(),
    /** As recorded; null: none. */
    tiers: json<readonly Tier[]>().nullable(),
    pin: json<BackupProtectionRow>().nullable(),
    hold: json<BackupProtectionRow>().nullable(),
    /** null: it has not expired. */
    expiry: json<BackupExpiryRow>().nullable(),
    /** It is not removed before; null: it was never locked. */
    locked_until: instant().nullable(),
    /** Position of BackupRequested: the order in which backups were requested. */
    created_position: position(),
  },
  indexes: [
    '(created_position)',
    '(vm_name, created_position)',
    '(vm_id, created_position)',
    '(repository_id, created_position)',
    '(status, created_position)',
    '(created_at)',
    '(chain_id) where chain_id is not null',
    '(parent_backup_id) where parent_backup_id is not null',
    '(backup_type, created_position)',
    `(vm_name, completed_at) where status = 'completed'`,
    `(vm_id, repository_id, created_position) where status = 'completed'`,
    `(vm_id, least(instant, completed_at)) where status = 'completed' and damage is null and instant is not null`,
    `(vm_id, created_position) where status in ('pending', 'running') or (status = 'completed' and change_tracking is null)
       or (status in ('failed', 'cancelled') and (not undone or (nbd_targets_string is not null and change_tracking is null)))
       or (status = 'deleted' and not files_removed)`,
    '(backup_id) where damage is not null',
    `(policy_id, vm_id) where status = 'completed' and policy_id is not null`,
    `(policy_id, completed_at) where status = 'completed' and policy_id is not null`,
    `(repository_id, locked_until) where status = 'completed' and locked_until is not null`,
  ],
});
export type BackupReadModel = EntityOf<typeof BackupReadModel>;
export type BackupRow = RowOf<typeof BackupReadModel>;
