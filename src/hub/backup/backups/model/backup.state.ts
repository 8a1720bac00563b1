import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import {
  type BackupEvent,
  type BackupOptions,
  type BackupPlannedV2,
  type BackupRequested,
  type BackupStage,
  DEFAULT_BACKUP_OPTIONS,
  type DiskTargetCreated,
  type PlannedDisk,
  type RestorePointExpired,
  type RestorePointImported,
  type SealedFile,
  type StoredBackupEvent,
  type Tier,
  upcastBackupEvent,
  type WaitingFor,
} from './backup.events.js';

export type DiskTarget = DiskTargetCreated['data'];

export type DiskTransfer = {
  readonly status: 'pending' | 'running' | 'completed' | 'failed';
  readonly bytes_transferred: number;
  /** Bytes that this backup transfers for the disk; 0 until the transfer has started. */
  readonly total_bytes: number;
  /** Digest of the content that the node sent; null until the transfer is completed, or if the node reported none. */
  readonly content_digest: string | null;
};

export type RunDisk = {
  readonly planned: PlannedDisk;
  readonly target: DiskTarget | null;
  readonly transfer: DiskTransfer;
  /** Identifies, at the source, all changes since this backup's instant; null before the snapshot, or if the source cannot track changes. */
  readonly change_id: string | null;
};

/** What keeps a restore point, and whether its policy still does. */
export type Retained = {
  readonly tiers: readonly Tier[];
  /** The reasons; null: not pinned, not held. */
  readonly pin: string | null;
  readonly hold: string | null;
  /** null: not expired. */
  readonly expiry: (RestorePointExpired['data'] & { readonly deferred: boolean }) | null;
};

/** The complete state of a run, whatever its outcome. */
export type BackupRun = {
  readonly request: BackupRequested['data'];
  readonly options: BackupOptions;
  /** null: the run never left the queue. */
  readonly plan: BackupPlannedV2['data'] | null;
  readonly disks: readonly RunDisk[];
  /** Once true, the node may have a job for this backup. */
  readonly transfer_requested: boolean;
  readonly nbd_targets_string: string | null;
  readonly instant: string | null;
  readonly silent_since: string | null;
  readonly snapshot_released: boolean;
  readonly sealed: { readonly files: readonly SealedFile[]; readonly folder: string; readonly locked_until: string | null } | null;
  /** The node has confirmed that it keeps nothing of the run except what chains need. */
  readonly settled: boolean;
  readonly retained: Retained;
};

export type BackupState =
  | { readonly status: 'none' }
  | { readonly status: 'pending'; readonly run: BackupRun; readonly waiting_for: WaitingFor | null }
  | { readonly status: 'running'; readonly run: BackupRun }
  | { readonly status: 'completed'; readonly run: BackupRun }
  | { readonly status: 'failed'; readonly run: BackupRun; readonly undone: boolean }
  | { readonly status: 'cancelled'; readonly run: BackupRun; readonly undone: boolean }
  | { readonly status: 'deleted'; readonly run: BackupRun; readonly files_removed: boolean };

/** A backup that has been requested or imported. */
export type KnownBackup = Exclude<BackupState, { status: 'none' }>;

export const initialBackupState: BackupState = { status: 'none' };

const KEPT: Retained = { tiers: [], pin: null, hold: null, expiry: null };

const UNTOUCHED: DiskTransfer = { status: 'pending', bytes_transferred: 0, total_bytes: 0, content_digest: null };

/** For an imported restore point: this hub does not know how much its backup transferred. */
const COPIED_ELSEWHERE: DiskTransfer = { ...UNTOUCHED, status: 'completed' };

export function evolveBackup(state: BackupState, stored: StoredBackupEvent): BackupState {
  const event = upcastBackupEvent(stored);
  if (event.type === 'BackupRequested') {
    return {
      status: 'pending',
      waiting_for: null,
      run: {
        request: event.data,
        options: DEFAULT_BACKUP_OPTIONS,
        plan: null,
        disks: [],
        transfer_requested: false,
        nbd_targets_string: null,
        instant: null,
        silent_since: null,
        snapshot_released: false,
        sealed: null,
        settled: false,
        retained: KEPT,
      },
    };
  }
  if (event.type === 'RestorePointImported') return { status: 'completed', run: importedRun(event.data) };
  if (state.status === 'none') throw new Error(`backup stream begins with ${event.type} instead of BackupRequested`);
  const { run } = state;
  switch (event.type) {
    case 'BackupOptionsChosen':
      return withRun(state, { ...run, options: event.data });
    case 'BackupQueued':
      return { status: 'pending', run, waiting_for: event.data.waiting_for };
    case 'BackupPlannedV2':
      return {
        status: 'running',
        run: { ...run, plan: event.data, disks: event.data.disks.map((planned) => ({ planned, target: null, transfer: UNTOUCHED, change_id: null })) },
      };
    case 'DisksLeftOut':
      return state;
    case 'DiskTargetCreated':
      return withRun(
        state,
        withDisk(run, event.data.disk_id, (disk) => ({ ...disk, target: event.data })),
      );
    case 'TransferRequested':
      return withRun(state, { ...run, transfer_requested: true, nbd_targets_string: event.data.nbd_targets_string });
    case 'SnapshotTaken': {
      const changeIds = new Map(event.data.change_ids.map((entry) => [entry.disk_id, entry.change_id]));
      const disks = run.disks.map((disk) => ({ ...disk, change_id: changeIds.get(disk.planned.disk_id) ?? null }));
      return withRun(state, { ...run, instant: event.data.instant, disks });
    }
    case 'QuiesceReported':
      return state;
    case 'DiskTransferStarted':
      return withTransfer(state, event.data.disk_id, () => ({ ...UNTOUCHED, status: 'running', total_bytes: event.data.total_bytes }));
    case 'DiskTransferProgressed':
      return withTransfer(state, event.data.disk_id, () => ({
        ...UNTOUCHED,
        status: 'running',
        bytes_transferred: event.data.bytes_transferred,
        total_bytes: event.data.total_bytes,
      }));
    case 'DiskTransferCompleted':
      return withTransfer(state, event.data.disk_id, (transfer) => ({
        status: 'completed',
        bytes_transferred: event.data.bytes_transferred,
        total_bytes: transfer.total_bytes,
        content_digest: event.data.content_digest ?? null,
      }));
    case 'DiskTransferFailed':
      return withTransfer(state, event.data.disk_id, (transfer) => ({ ...transfer, status: 'failed' }));
    case 'TransferStalled':
      return withRun(state, { ...run, silent_since: event.data.silent_since });
    case 'TransferResumed':
      return withRun(state, { ...run, silent_since: null });
    case 'SnapshotReleased':
      return withRun(state, { ...run, snapshot_released: true });
    case 'RestorePointSealed':
      return withRun(state, { ...run, sealed: { files: event.data.files, folder: event.data.folder, locked_until: event.data.locked_until ?? null } });
    case 'BackupCompleted':
      return { status: 'completed', run };
    case 'BackupFailed':
      return { status: 'failed', run, undone: false };
    case 'BackupCancelled':
      return { status: 'cancelled', run, undone: false };
    case 'ChangeTrackingSettled':
      return withRun(state, { ...run, settled: true });
    case 'BackupUndone':
      return state.status === 'failed' || state.status === 'cancelled' ? { ...state, undone: true } : state;
    case 'RestorePointTiersAssigned':
      return withRetained(state, { tiers: [...run.retained.tiers, ...event.data.tiers] });
    case 'RestorePointExpired':
      return withRetained(state, { expiry: { ...event.data, deferred: false } });
    case 'RestorePointRemovalDeferred':
      return withRetained(state, { expiry: run.retained.expiry === null ? null : { ...run.retained.expiry, deferred: true } });
    case 'RestorePointExpiryWithdrawn':
      return withRetained(state, { expiry: null });
    case 'RestorePointPinned':
      return withRetained(state, { pin: event.data.reason });
    case 'RestorePointUnpinned':
      return withRetained(state, { pin: null });
    case 'RestorePointHeld':
      return withRetained(state, { hold: event.data.reason });
    case 'RestorePointReleased':
      return withRetained(state, { hold: null });
    case 'BackupDeleted':
      return { status: 'deleted', run, files_removed: false };
    case 'RestorePointFilesRemoved':
      return { status: 'deleted', run, files_removed: true };
    default:
      return unknownVariant('backup stream', event);
  }
}

/** The current stage of a run, as used in BackupFailed. */
export function stageOf(run: BackupRun): BackupStage {
  if (run.plan === null) return 'queued';
  if (!run.transfer_requested) return 'preparing';
  if (run.instant === null) return 'snapshot';
  const copied = run.snapshot_released && run.disks.every((disk) => disk.transfer.status === 'completed');
  return copied ? 'sealing' : 'transfer';
}

function withRun<State extends KnownBackup>(state: State, run: BackupRun): State {
  return { ...state, run };
}

function withRetained<State extends KnownBackup>(state: State, change: Partial<Retained>): State {
  return withRun(state, { ...state.run, retained: { ...state.run.retained, ...change } });
}

function withDisk(run: BackupRun, diskId: number, change: (disk: RunDisk) => RunDisk): BackupRun {
  return { ...run, disks: run.disks.map((disk) => (disk.planned.disk_id === diskId ? change(disk) : disk)) };
}

function withTransfer<State extends KnownBackup>(state: State, diskId: number, change: (transfer: DiskTransfer) => DiskTransfer): State {
  return withRun(
    state,
    withDisk(state.run, diskId, (disk) => ({ ...disk, transfer: change(disk.transfer) })),
  );
}

/** The state that a run of this hub would have left. No node holds anything of an imported restore point. */
function importedRun(data: RestorePointImported['data']): BackupRun {
  const { backup_id, vm_id, vm_name, node_id, repository_id, backup_type, started_at, folder } = data;
  const disks = data.disks.map(({ disk_id, disk_key, size_bytes, source_format, file, parent_file, parent_change_id }) => ({
    disk_id,
    disk_key,
    size_bytes,
    source_format,
    file,
    parent_file,
    parent_change_id,
  }));
  return {
    options: DEFAULT_BACKUP_OPTIONS,
    request: { backup_id, vm_id, vm_name, node_id, repository_id, backup_type, policy_id: null, requested_at: started_at },
    plan: {
      backup_type,
      full_reason: data.full_reason,
      full_reason_detail: null,
      chain_id: data.chain_id,
      parent_backup_id: data.parent_backup_id,
      folder,
      disks,
      ports: [],
      started_at,
    },
    disks: disks.map((planned, index) => ({ planned, target: null, transfer: COPIED_ELSEWHERE, change_id: data.disks[index]?.change_id ?? null })),
    transfer_requested: false,
    nbd_targets_string: null,
    instant: data.instant,
    silent_since: null,
    snapshot_released: true,
    sealed: {
      folder,
      // Of an imported one, the chain knows it.
      locked_until: null,
      files: data.disks.map(({ disk_id, file, file_size_bytes, sha256, mtime_ns }) => ({ disk_id, file, size_bytes: file_size_bytes, sha256, mtime_ns })),
    },
    settled: true,
    retained: KEPT,
  };
}

export const backupDecider = decidersOf<BackupState, BackupEvent>(initialBackupState, evolveBackup);
