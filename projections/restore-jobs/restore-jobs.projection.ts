import { unknownVariant } from '../../src/kernel/decider.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { RecordedEvent } from '../../src/hub/store/event-store/event-store.port.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import type { DamagedSource, RestoreJobEvent, RestoreStage } from '../../src/hub/restore/restore-jobs/model/restore-job.events.js';
import type { VmRestoreEvent, VmRestoreMode, VmRestoreStage } from '../../src/hub/restore/restore-jobs/model/vm-restore.events.js';

export type RestoreJobStatus = 'running' | 'completed' | 'failed' | 'cancelled';

export type RestoreJobDiskRow = {
  readonly disk_id: number;
  readonly disk_key: string;
  readonly virtual_size_bytes: number;
  readonly outputs: readonly string[];
  readonly status: 'pending' | 'copying' | 'comparing' | 'completed';
  /** Progress of the copy, 0 to 100. */
  readonly percent: number;
};

/** The VM that a job creates. */
export type RestoredVmRow = {
  readonly mode: VmRestoreMode;
  readonly node_id: string;
  readonly name: string;
  /** null until the domain is defined. */
  readonly uuid: string | null;
  readonly keep_identity: boolean;
  readonly start: boolean;
  readonly network: 'keep' | 'disconnected' | 'none';
  readonly libvirt_network: string | null;
  readonly started: boolean;
  readonly start_error: { readonly code: string; readonly detail: string } | null;
  /** Settings that could not be kept. */
  readonly changes: readonly { readonly code: string; readonly detail: string }[];
  /** The instant VM was discarded. */
  readonly removed: boolean;
};

export type RestoreJobRow = {
  readonly job_id: string;
  readonly kind: 'disks' | 'vm';
  readonly backup_id: string;
  readonly vm_id: string;
  readonly vm_name: string;
  readonly repository_id: string;
  readonly target_path: string;
  readonly format: 'raw' | 'qcow2' | 'vmdk';
  readonly chain: 'flattened' | 'chain';
  readonly overwrite: boolean;
  readonly status: RestoreJobStatus;
  readonly disks: readonly RestoreJobDiskRow[];
  readonly sources_verified: boolean;
  /** Absolute paths; empty until completed. */
  readonly files: readonly string[];
  readonly error: { readonly code: string; readonly stage: RestoreStage | VmRestoreStage; readonly detail: string } | null;
  /** Set if and only if the kind is `vm`. */
  readonly vm: RestoredVmRow | null;
  readonly cleaned_up: boolean;
  readonly requested_at: string;
  readonly ended_at: string | null;
  /** Position of RestoreJobRequested: the order in which jobs were requested. */
  readonly created_position: string;
  /** Source files that differ from what was sealed, in a job that continues anyway. */
  readonly damaged_sources: readonly DamagedSource[];
};

export const restoreJobsProjection: Projection<RestoreJobRow> = {
  name: 'restore_jobs',
  categories: ['restoreJob', 'vmRestore'],
  key: 'job_id',
  columns: {
    job_id: 'text',
    backup_id: 'text',
    vm_id: 'text',
    vm_name: 'text',
    repository_id: 'text',
    target_path: 'text',
    format: 'text',
    chain: 'text',
    overwrite: 'boolean',
    status: 'text',
    disks: 'jsonb',
    sources_verified: 'boolean',
    files: 'jsonb',
    error: 'jsonb',
    cleaned_up: 'boolean',
    requested_at: 'timestamptz',
    ended_at: 'timestamptz',
    created_position: 'text',
    damaged_sources: 'jsonb',
    kind: 'text',
    vm: 'jsonb',
  },
  nullable: { error: true, vm: true, ended_at: true },
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = asDomainEvent<RestoreJobEvent | VmRestoreEvent>(recorded);
    if (event.type === 'RestoreJobRequested') return requested(event.data, recorded);
    if (event.type === 'VmRestoreRequested') return vmRequested(event.data, recorded);
    if (row === undefined) throw new Error(`restore job stream ${recorded.stream} has ${event.type} before RestoreJobRequested`);
    switch (event.type) {
      case 'DiskRestoreStarted':
        return withDisk(row, event.data.disk_id, { status: 'copying' });
      case 'DiskRestoreProgressed':
        return withDisk(row, event.data.disk_id, { percent: event.data.percent });
      case 'DiskRestoreCopied':
        return withDisk(row, event.data.disk_id, { status: 'comparing', percent: 100 });
      case 'DiskRestoreCompared':
        return withDisk(row, event.data.disk_id, { status: 'completed' });
      case 'RestoreSourcesVerified':
        return { ...row, sources_verified: true };
      case 'RestoreSourcesDamaged':
      case 'VmRestoreSourcesDamaged':
        return { ...row, damaged_sources: event.data.files };
      case 'RestoreJobCompleted':
        return { ...row, status: 'completed', files: event.data.files, ended_at: event.data.completed_at };
      case 'RestoreJobFailed': {
        const { code, stage, detail, failed_at } = event.data;
        return { ...row, status: 'failed', error: { code, stage, detail }, ended_at: failed_at };
      }
      case 'VmRestoreDiskPublished':
      case 'VmRestoreSentToNode':
        return { ...row };
      case 'VmRestoreSourcesVerified':
        return { ...row, sources_verified: true };
      case 'VmDiskRestoreProgressed': {
        const { disk_id, phase, percent } = event.data;
        return withDisk(row, disk_id, { status: phase, percent: phase === 'copying' ? percent : 100 });
      }
      case 'VmRestoreCompleted': {
        const { uuid, files, changes, started, start_error, completed_at } = event.data;
        const completed: RestoreJobRow = { ...row, status: 'completed', files, ended_at: completed_at };
        return {
          ...completed,
          disks: row.disks.map((disk) => ({ ...disk, status: 'completed', percent: 100 })),
          vm: row.vm === null ? null : { ...row.vm, uuid, changes, started, start_error },
        };
      }
      case 'VmRestoreFailed': {
        const { code, stage, detail, failed_at } = event.data;
        return { ...row, status: 'failed', error: { code, stage, detail }, ended_at: failed_at };
      }
      case 'InstantVmGivenUp':
        return { ...row, vm: row.vm === null ? null : { ...row.vm, removed: true } };
      case 'VmRestoreCancelled':
      case 'RestoreJobCancelled':
        return { ...row, status: 'cancelled', ended_at: event.data.cancelled_at };
      case 'VmRestoreCleanedUp':
      case 'RestoreJobCleanedUp':
        return { ...row, cleaned_up: true };
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};

type RestoreJobRequested = Extract<RestoreJobEvent, { type: 'RestoreJobRequested' }>['data'];
type VmRestoreRequested = Extract<VmRestoreEvent, { type: 'VmRestoreRequested' }>['data'];
/** Hubs up to version 0.1.0 stored null when a client sent null to request the default. */
type Stored<Data, Defaulted extends keyof Data> = Omit<Data, Defaulted> & { readonly [Member in Defaulted]: Data[Member] | null };

/** The initial values common to all kinds of restore jobs. */
function begun(
  data: Pick<RestoreJobRequested & VmRestoreRequested, 'job_id' | 'backup_id' | 'vm_id' | 'vm_name' | 'repository_id' | 'requested_at'>,
  recorded: RecordedEvent,
) {
  return {
    job_id: data.job_id,
    backup_id: data.backup_id,
    vm_id: data.vm_id,
    vm_name: data.vm_name,
    repository_id: data.repository_id,
    status: 'running',
    sources_verified: false,
    files: [],
    error: null,
    cleaned_up: false,
    requested_at: data.requested_at,
    ended_at: null,
    created_position: recorded.position,
    damaged_sources: [],
  } as const satisfies Partial<RestoreJobRow>;
}

function requested(data: Stored<RestoreJobRequested, 'chain' | 'overwrite'>, recorded: RecordedEvent): RestoreJobRow {
  return {
    ...begun(data, recorded),
    target_path: data.target_path,
    format: data.format,
    chain: data.chain ?? 'flattened',
    overwrite: data.overwrite ?? false,
    disks: data.disks.map(({ disk_id, disk_key, virtual_size_bytes, outputs }) => ({
      disk_id,
      disk_key,
      virtual_size_bytes,
      outputs,
      status: 'pending',
      percent: 0,
    })),
    kind: 'disks',
    vm: null,
  };
}

function vmRequested(data: Stored<VmRestoreRequested, 'keep_identity' | 'start' | 'network'>, recorded: RecordedEvent): RestoreJobRow {
  return {
    ...begun(data, recorded),
    target_path: data.storage_path ?? '',
    format: data.mode === 'copy' ? 'qcow2' : 'raw',
    chain: 'flattened',
    overwrite: false,
    disks: data.disks.map(({ disk_id, disk_key, virtual_size_bytes, file_name }) => ({
      disk_id,
      disk_key,
      virtual_size_bytes,
      outputs: file_name === null ? [] : [file_name],
      status: 'pending',
      percent: 0,
    })),
    kind: 'vm',
    vm: {
      mode: data.mode,
      node_id: data.node_id,
      name: data.name,
      uuid: null,
      keep_identity: data.keep_identity ?? false,
      start: data.start ?? false,
      network: data.network ?? 'keep',
      libvirt_network: data.libvirt_network,
      started: false,
      start_error: null,
      changes: [],
      removed: false,
    },
  };
}

function withDisk(row: RestoreJobRow, diskId: number, change: Partial<RestoreJobDiskRow>): RestoreJobRow {
  return { ...row, disks: row.disks.map((disk) => (disk.disk_id === diskId ? { ...disk, ...change } : disk)) };
}
