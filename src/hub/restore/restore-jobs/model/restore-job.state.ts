import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { RestoreJobEvent, RestoreJobRequested, RestoreStage } from './restore-job.events.js';

export type DiskStanding = 'pending' | 'started' | 'copied' | 'compared';

export type RestoreJobState =
  | { readonly status: 'none' }
  | {
      readonly status: 'running' | 'completed' | 'failed' | 'cancelled';
      readonly job: RestoreJobRequested['data'];
      /** By disk id. */
      readonly disks: ReadonlyMap<number, DiskStanding>;
      /** Every source file was hashed. Only a job that allows damage continues with files that differ from the sealed ones. */
      readonly sources_checked: boolean;
      readonly cleaned_up: boolean;
    };

export type KnownRestoreJob = Exclude<RestoreJobState, { status: 'none' }>;

export const initialRestoreJobState: RestoreJobState = { status: 'none' };

export function evolveRestoreJob(state: RestoreJobState, event: RestoreJobEvent): RestoreJobState {
  if (event.type === 'RestoreJobRequested') {
    return {
      status: 'running',
      job: event.data,
      disks: new Map(event.data.disks.map(({ disk_id }) => [disk_id, 'pending'])),
      sources_checked: false,
      cleaned_up: false,
    };
  }
  if (state.status === 'none') throw new Error(`restore job stream begins with ${event.type} instead of RestoreJobRequested`);
  switch (event.type) {
    case 'DiskRestoreStarted':
      return withDisk(state, event.data.disk_id, 'started');
    case 'DiskRestoreProgressed':
      return state;
    case 'DiskRestoreCopied':
      return withDisk(state, event.data.disk_id, 'copied');
    case 'DiskRestoreCompared':
      return withDisk(state, event.data.disk_id, 'compared');
    case 'RestoreSourcesVerified':
    case 'RestoreSourcesDamaged':
      return { ...state, sources_checked: true };
    case 'RestoreJobCompleted':
      return { ...state, status: 'completed' };
    case 'RestoreJobFailed':
      return { ...state, status: 'failed' };
    case 'RestoreJobCancelled':
      return { ...state, status: 'cancelled' };
    case 'RestoreJobCleanedUp':
      return { ...state, cleaned_up: true };
    default:
      return unknownVariant('restore job stream', event);
  }
}

/** The current stage of a job, as in RestoreJobFailed. */
export function stageOf(state: KnownRestoreJob): RestoreStage {
  const standings = [...state.disks.values()];
  if (standings.some((standing) => standing === 'pending' || standing === 'started')) return 'copying';
  return state.sources_checked && standings.every((standing) => standing === 'compared') ? 'publishing' : 'checking';
}

function withDisk(state: KnownRestoreJob, diskId: number, standing: DiskStanding): RestoreJobState {
  return { ...state, disks: new Map([...state.disks, [diskId, standing]]) };
}

export const restoreJobDecider = decidersOf<RestoreJobState, RestoreJobEvent>(initialRestoreJobState, evolveRestoreJob);
