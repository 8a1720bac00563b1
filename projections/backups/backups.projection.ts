import { unknownVariant } from '../../src/kernel/decider.js';
import { type BackupEvent, type RestorePointImported, type StoredBackupEvent, upcastBackupEvent } from '../../src/hub/backup/backups/model/backup.events.js';
import type { ChainEvent, RestorePointRewritten } from '../../src/hub/backup/chains/model/chain.events.js';
import type { NbdExportEvent } from '../../src/hub/exports/nbd-exports/model/nbd-export.events.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import { categoryOf, type RecordedEvent } from '../../src/hub/store/event-store/event-store.port.js';
import type { Projection, RowReference } from '../../src/hub/store/postgres/projection-definition.js';
import { normalisedInstant } from '../../src/kernel/instant.js';
import { BackupReadModel, type BackupPhase, type BackupDiskRow, type BackupRow } from './backups.read-model.js';

export const backupsProjection: Projection<BackupRow> = {
  ...BackupReadModel.definition,
  categories: ['backup', 'nbdExport', 'chain'],
  keys(event): readonly (string | RowReference)[] {
    const category = categoryOf(event.stream);
    if (category === 'backup') return [idOf(event.stream)];
    if (category === 'chain') {
      const chained = asDomainEvent<ChainEvent>(event);
      if (chained.type === 'RestorePointLocked') return [chained.data.backup_id, ...chained.data.extended];
      const concerned = chained.type === 'RestorePointDamaged' || chained.type === 'RestorePointHealed' || chained.type === 'RestorePointRewritten';
      return concerned ? [chained.data.backup_id] : [];
    }
    const exported = asDomainEvent<NbdExportEvent>(event);
    return exported.type === 'NbdExportRequested' ? [exported.data.job_id] : [{ reference: idOf(event.stream) }];
  },
  specimen(event) {
    const { disk_id, files } = event.data;
    const named = [disk_id, ...(Array.isArray(files) ? files.map((file: { readonly disk_id?: unknown } | null) => file?.disk_id) : [])];
    return { status: 'running', disks: named.filter((id) => typeof id === 'number').map((id) => specimenDisk(id)) };
  },
  fold(row, event) {
    const category = categoryOf(event.stream);
    if (category === 'nbdExport') return row === undefined ? null : foldExport(row, event);
    if (category === 'chain') return row === undefined ? null : foldChained(row, event);
    return foldBackup(row, event);
  },
};

const DISK_TO_COME = {
  export_id: null,
  nbd_port: null,
  nbd_export_name: null,
  qcow2_path: null,
  status: 'pending',
  bytes_transferred: 0,
  total_bytes: null,
  size_bytes: null,
  sha256: null,
  change_id: null,
  error: null,
} as const satisfies Partial<BackupDiskRow>;

function specimenDisk(disk_id: number): BackupDiskRow {
  const planned = { disk_id, disk_key: '', virtual_size_bytes: 0, file: '', parent_file: null, parent_change_id: null };
  return { ...DISK_TO_COME, ...planned, qcow2_path: '/repository/vm/.partial/disk.qcow2', total_bytes: 0 };
}

/** Folds one event of a backup's own stream. */
function foldBackup(row: BackupRow | undefined, recorded: RecordedEvent): BackupRow {
  const event = upcastBackupEvent(asDomainEvent<StoredBackupEvent>(recorded));
  if (event.type === 'BackupRequested') return requested(event.data, recorded.position);
  if (event.type === 'RestorePointImported') return imported(event.data, recorded.position);
  if (row === undefined) throw new Error(`backup stream ${recorded.stream} has ${event.type} before BackupRequested`);
  switch (event.type) {
    case 'BackupOptionsChosen':
      // The options are shown by the backup's events only.
      return row;
    case 'DisksLeftOut':
      return { ...row, left_out_disks: event.data.disks };
    case 'QuiesceReported':
      return { ...row, quiesce: event.data };
    case 'BackupQueued':
      return { ...row, current_phase: 'queued', waiting_for: event.data.waiting_for, waiting_detail: event.data.detail };
    case 'BackupPlannedV2': {
      const { data } = event;
      return {
        ...row,
        status: 'running',
        current_phase: 'preparing',
        waiting_for: null,
        waiting_detail: null,
        backup_type: data.backup_type,
        full_reason: data.full_reason,
        full_reason_detail: data.full_reason_detail,
        chain_id: data.chain_id,
        parent_backup_id: data.parent_backup_id,
        folder: data.folder,
        started_at: data.started_at,
        disks: data.disks.map((disk) => ({
          ...DISK_TO_COME,
          disk_id: disk.disk_id,
          disk_key: disk.disk_key,
          virtual_size_bytes: disk.size_bytes,
          file: disk.file,
          parent_file: disk.parent_file,
          parent_change_id: disk.parent_change_id,
        })),
      };
    }
    case 'DiskTargetCreated': {
      const { disk_id, export_id, export_name, nbd_port, qcow2_path } = event.data;
      return withDisk({ ...row, current_phase: phaseOf(row, 'preparing') }, disk_id, { export_id, nbd_port, nbd_export_name: export_name, qcow2_path });
    }
    case 'TransferRequested':
      return { ...row, current_phase: phaseOf(row, 'snapshot'), nbd_targets_string: event.data.nbd_targets_string };
    case 'SnapshotTaken': {
      const changeIds = new Map(event.data.change_ids.map(({ disk_id, change_id }) => [disk_id, change_id]));
      return {
        ...row,
        current_phase: phaseOf(row, 'transfer'),
        // Hubs up to version 0.1.0 stored instants as the node sent them, including week dates, which the column cannot hold.
        instant: normalisedInstant(event.data.instant),
        disks: row.disks.map((disk) => ({ ...disk, change_id: changeIds.get(disk.disk_id) ?? null })),
      };
    }
    case 'DiskTransferStarted':
      return withProgress(
        withDisk({ ...row, transfer_started_at: row.transfer_started_at ?? recorded.metadata.time }, event.data.disk_id, {
          status: 'running',
          bytes_transferred: 0,
          total_bytes: event.data.total_bytes,
        }),
        recorded.metadata.time,
      );
    case 'DiskTransferProgressed':
      return withProgress(
        withDisk(row, event.data.disk_id, { status: 'running', bytes_transferred: event.data.bytes_transferred, total_bytes: event.data.total_bytes }),
        recorded.metadata.time,
      );
    case 'DiskTransferCompleted':
      return withProgress(
        withDisk(row, event.data.disk_id, { status: 'completed', bytes_transferred: event.data.bytes_transferred, error: null }),
        recorded.metadata.time,
      );
    case 'DiskTransferFailed':
      return withDisk(row, event.data.disk_id, { status: 'failed', error: { code: event.data.code, detail: event.data.detail } });
    case 'TransferStalled':
      return { ...row, current_phase: phaseOf(row, 'stalled'), silent_since: event.data.silent_since, eta_seconds: null };
    case 'TransferResumed':
      return { ...row, current_phase: phaseOf(row, row.instant === null ? 'snapshot' : 'transfer'), silent_since: null };
    case 'SnapshotReleased':
      return { ...row, current_phase: phaseOf(row, 'sealing') };
    case 'RestorePointSealed': {
      const files = new Map(event.data.files.map((file) => [file.disk_id, file]));
      return {
        ...row,
        current_phase: phaseOf(row, 'sealing'),
        folder: event.data.folder,
        files: event.data.files,
        manifest_sha256: event.data.manifest_sha256,
        disks: row.disks.map((disk) => {
          const file = files.get(disk.disk_id);
          if (file === undefined) return disk;
          const qcow2_path = sealedPath(disk.qcow2_path, event.data.folder, file.file);
          return { ...disk, file: file.file, qcow2_path, size_bytes: file.size_bytes, sha256: file.sha256 };
        }),
      };
    }
    case 'BackupCompleted':
      return {
        ...row,
        status: 'completed',
        current_phase: 'completed',
        progress_percent: 100,
        eta_seconds: null,
        completed_at: event.data.completed_at,
      };
    case 'BackupFailed':
      return {
        ...cutOff(row),
        status: 'failed',
        current_phase: 'failed',
        error: { code: event.data.code, stage: event.data.stage, detail: event.data.detail },
        completed_at: event.data.failed_at,
      };
    case 'BackupCancelled':
      return { ...cutOff(row), status: 'cancelled', current_phase: 'cancelled', completed_at: event.data.cancelled_at };
    case 'ChangeTrackingSettled':
      return { ...row, change_tracking: event.data.outcome };
    case 'BackupUndone':
      return { ...row, undone: true };
    case 'RestorePointTiersAssigned':
      return { ...row, tiers: [...(row.tiers ?? []), ...event.data.tiers] };
    case 'RestorePointExpired':
      return { ...row, expiry: { ...event.data, needed_by: null } };
    case 'RestorePointRemovalDeferred':
      return { ...row, expiry: row.expiry === null ? null : { ...row.expiry, needed_by: event.data.needed_by } };
    case 'RestorePointExpiryWithdrawn':
      return { ...row, expiry: null };
    case 'RestorePointPinned':
      return { ...row, pin: { reason: event.data.reason, by: recorded.metadata.actor, at: event.data.pinned_at } };
    case 'RestorePointUnpinned':
      return { ...row, pin: null };
    case 'RestorePointHeld':
      return { ...row, hold: { reason: event.data.reason, by: recorded.metadata.actor, at: event.data.held_at } };
    case 'RestorePointReleased':
      return { ...row, hold: null };
    case 'BackupDeleted':
      return { ...row, status: 'deleted', current_phase: 'deleted', deleted_at: event.data.deleted_at };
    case 'RestorePointFilesRemoved':
      return { ...row, files_removed: true };
    default:
      return unknownVariant(`stream ${recorded.stream}`, event);
  }
}

/** The file was written in a folder next to the one it is sealed in. */
function sealedPath(writtenAt: string | null, folder: string, file: string): string | null {
  if (writtenAt === null) return null;
  return [...writtenAt.split('/').slice(0, -2), ...folder.split('/').slice(-1), file].join('/');
}

function foldExport(row: BackupRow, recorded: RecordedEvent): BackupRow {
  const event = asDomainEvent<NbdExportEvent>(recorded);
  const exportId = idOf(recorded.stream);
  switch (event.type) {
    case 'NbdExportRequested':
      return {
        ...row,
        export_ids: row.export_ids.includes(exportId) ? row.export_ids : [...row.export_ids, exportId],
        exports: { ...row.exports, [exportId]: null },
      };
    case 'NbdExportStarted':
      return { ...row, exports: { ...row.exports, [exportId]: event.data.pid } };
    case 'NbdExportStartFailed':
    case 'NbdExportStopped':
    case 'NbdExportExited':
      return { ...row, exports: { ...row.exports, [exportId]: null } };
    default:
      return unknownVariant(`stream ${recorded.stream}`, event);
  }
}

function foldChained(row: BackupRow, recorded: RecordedEvent): BackupRow {
  const event = asDomainEvent<ChainEvent>(recorded);
  if (event.type === 'RestorePointLocked') return { ...row, locked_until: event.data.locked_until };
  if (event.type === 'RestorePointHealed') return { ...row, damage: null };
  return event.type === 'RestorePointRewritten' ? rewritten(row, event.data) : damaged(row, event, recorded.metadata.time);
}

function rewritten(row: BackupRow, { parent_backup_id, files, manifest_sha256 }: RestorePointRewritten['data']): BackupRow {
  const byDisk = new Map(files.map((file) => [file.disk_id, file]));
  const isFull = parent_backup_id === null;
  return {
    ...row,
    backup_type: isFull ? 'full' : 'incremental',
    full_reason: isFull ? 'flattened' : null,
    full_reason_detail: isFull ? null : row.full_reason_detail,
    parent_backup_id,
    manifest_sha256,
    files: row.files?.map((file) => ({ ...file, ...byDisk.get(file.disk_id)?.after })) ?? null,
    disks: row.disks.map((disk) => {
      const file = byDisk.get(disk.disk_id);
      if (file === undefined) return disk;
      const { parent_file, parent_change_id, after } = file;
      return { ...disk, parent_file, parent_change_id, size_bytes: after.size_bytes, sha256: after.sha256 };
    }),
  };
}

/** The first finding is kept, unless it is of another restore point and this one is of its own files. */
function damaged(row: BackupRow, event: ChainEvent, time: string): BackupRow {
  if (event.type !== 'RestorePointDamaged') return row;
  if (row.damage !== null && (row.damage.caused_by_backup_id === null || (event.data.caused_by_backup_id ?? null) !== null)) return row;
  const { code, detail, file, verification_id, caused_by_backup_id } = event.data;
  const damage = { code, detail, file: file ?? null, detected_at: time, verification_id: verification_id ?? null };
  return { ...row, damage: { ...damage, caused_by_backup_id: caused_by_backup_id ?? null } };
}

function requested(data: Extract<BackupEvent, { type: 'BackupRequested' }>['data'], position: string): BackupRow {
  return {
    backup_id: data.backup_id,
    vm_id: data.vm_id,
    vm_name: data.vm_name,
    node_id: data.node_id,
    repository_id: data.repository_id,
    policy_id: data.policy_id,
    policy_version: data.policy_version ?? null,
    backup_type: data.backup_type,
    status: 'pending',
    current_phase: 'queued',
    waiting_for: null,
    waiting_detail: null,
    full_reason: null,
    full_reason_detail: null,
    chain_id: null,
    parent_backup_id: null,
    folder: null,
    files: null,
    manifest_sha256: null,
    instant: null,
    progress_percent: 0,
    bytes_transferred: 0,
    total_bytes: 0,
    transfer_speed_bps: null,
    eta_seconds: null,
    disks: [],
    exports: {},
    export_ids: [],
    nbd_targets_string: null,
    error: null,
    change_tracking: null,
    undone: false,
    files_removed: false,
    created_at: data.requested_at,
    started_at: null,
    transfer_started_at: null,
    silent_since: null,
    completed_at: null,
    deleted_at: null,
    damage: null,
    quiesce: null,
    left_out_disks: [],
    tiers: null,
    pin: null,
    hold: null,
    expiry: null,
    locked_until: null,
    created_position: position,
  };
}

/** An imported restore point looks like one whose backup completed on this hub. */
function imported(data: RestorePointImported['data'], position: string): BackupRow {
  const { backup_id, vm_id, vm_name, node_id, repository_id, backup_type, started_at } = data;
  return {
    ...requested({ backup_id, vm_id, vm_name, node_id, repository_id, backup_type, policy_id: null, requested_at: started_at }, position),
    status: 'completed',
    current_phase: 'completed',
    full_reason: data.full_reason,
    chain_id: data.chain_id,
    parent_backup_id: data.parent_backup_id,
    folder: data.folder,
    files: data.disks.map(({ disk_id, file, file_size_bytes, sha256, mtime_ns }) => ({ disk_id, file, size_bytes: file_size_bytes, sha256, mtime_ns })),
    manifest_sha256: data.manifest_sha256,
    instant: data.instant,
    progress_percent: 100,
    disks: data.disks.map((disk) => ({
      disk_id: disk.disk_id,
      disk_key: disk.disk_key,
      virtual_size_bytes: disk.size_bytes,
      file: disk.file,
      parent_file: disk.parent_file,
      parent_change_id: disk.parent_change_id,
      export_id: null,
      nbd_port: null,
      nbd_export_name: null,
      qcow2_path: `${data.repository_path}/${data.folder}/${disk.file}`,
      status: 'completed',
      bytes_transferred: 0,
      total_bytes: null,
      size_bytes: disk.file_size_bytes,
      sha256: disk.sha256,
      change_id: disk.change_id,
      error: null,
    })),
    change_tracking: 'committed',
    started_at,
    completed_at: data.sealed_at,
  };
}

/** A report that arrives after the backup has ended does not change its phase. */
function phaseOf(row: BackupRow, phase: BackupPhase): BackupPhase {
  return row.status === 'running' ? phase : row.current_phase;
}

function withDisk(row: BackupRow, diskId: number, change: Partial<BackupDiskRow>): BackupRow {
  return { ...row, disks: row.disks.map((disk) => (disk.disk_id === diskId ? { ...disk, ...change } : disk)) };
}

/** Marks the disks that were still being copied as failed. */
function cutOff(row: BackupRow): BackupRow {
  return {
    ...row,
    eta_seconds: null,
    disks: row.disks.map((disk) =>
      disk.status === 'running'
        ? { ...disk, status: 'failed', error: { code: 'transfer_cut_off', detail: 'the backup ended before this disk was copied' } }
        : disk,
    ),
  };
}

function withProgress(row: BackupRow, time: string): BackupRow {
  const moved = row.disks.reduce((sum, disk) => sum + disk.bytes_transferred, 0);
  const total = row.disks.reduce((sum, disk) => sum + (disk.total_bytes ?? 0), 0);
  const allStarted = row.disks.every((disk) => disk.total_bytes !== null);
  const elapsedSeconds = row.transfer_started_at === null ? 0 : (Date.parse(time) - Date.parse(row.transfer_started_at)) / 1000;
  // The mean since the transfer began: disks report in turn, so the time between two reports says nothing about the speed.
  const speed = elapsedSeconds > 0 && moved > 0 ? Math.round(moved / elapsedSeconds) : row.transfer_speed_bps;
  const open = row.disks.some((disk) => disk.status !== 'completed');
  return {
    ...row,
    bytes_transferred: moved,
    total_bytes: total,
    progress_percent: percent(row.disks, allStarted ? moved : null, total),
    transfer_speed_bps: speed,
    eta_seconds: open && allStarted && speed !== null && speed > 0 && row.status === 'running' ? Math.ceil(Math.max(0, total - moved) / speed) : null,
  };
}

/** One decimal. Until the total of every disk is known, this is the mean of the disks' shares. */
function percent(disks: readonly BackupDiskRow[], moved: number | null, total: number): number {
  const share = moved !== null && total > 0 ? moved / total : disks.reduce((sum, disk) => sum + shareOf(disk), 0) / Math.max(1, disks.length);
  return Math.min(100, Math.floor(share * 1000) / 10);
}

function shareOf(disk: BackupDiskRow): number {
  if (disk.status === 'completed') return 1;
  return disk.total_bytes === null || disk.total_bytes === 0 ? 0 : disk.bytes_transferred / disk.total_bytes;
}

function idOf(stream: string): string {
  return stream.slice(stream.indexOf('-') + 1);
}
