import { unknownVariant } from '../../src/kernel/decider.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { RecordedEvent } from '../../src/hub/store/event-store/event-store.port.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import type { RestoreJobEvent } from '../../src/hub/restore/restore-jobs/model/restore-job.events.js';
import type { VmRestoreEvent } from '../../src/hub/restore/restore-jobs/model/vm-restore.events.js';
import { RestoreJobReadModel, type RestoreJobDiskRow, type RestoreJobRow } from './restore-jobs.read-model.js';

export const restoreJobsProjection: Projection<RestoreJobRow> = {
  ...RestoreJobReadModel.definition,
  categories: ['restoreJob', 'vmRestore'],
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
