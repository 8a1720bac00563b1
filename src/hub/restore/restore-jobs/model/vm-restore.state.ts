import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { VmRestoreEvent, VmRestoreRequested, VmRestoreStage } from './vm-restore.events.js';

export type VmDiskPhase = 'pending' | 'copying' | 'comparing' | 'completed';

export type VmRestoreState =
  | { readonly status: 'none' }
  | {
      readonly status: 'running' | 'completed' | 'failed' | 'cancelled';
      readonly job: VmRestoreRequested['data'];
      /** By disk id. */
      readonly uris: ReadonlyMap<number, string>;
      readonly progress: ReadonlyMap<number, { readonly phase: VmDiskPhase; readonly percent: number }>;
      readonly sent: boolean;
      /** The sources were hashed, and any damage is recorded. */
      readonly sources_checked: boolean;
      /** The removal of an instant VM was requested. */
      readonly given_up: boolean;
      readonly cleaned_up: boolean;
    };

export type KnownVmRestore = Exclude<VmRestoreState, { status: 'none' }>;

export const initialVmRestoreState: VmRestoreState = { status: 'none' };

export function evolveVmRestore(state: VmRestoreState, event: VmRestoreEvent): VmRestoreState {
  if (event.type === 'VmRestoreRequested') {
    return {
      status: 'running',
      job: event.data,
      uris: new Map(),
      progress: new Map(),
      sent: false,
      sources_checked: false,
      given_up: false,
      cleaned_up: false,
    };
  }
  if (state.status === 'none') throw new Error(`VM restore stream begins with ${event.type} instead of VmRestoreRequested`);
  switch (event.type) {
    case 'VmRestoreDiskPublished':
      return { ...state, uris: new Map([...state.uris, [event.data.disk_id, event.data.uri]]) };
    case 'VmRestoreSentToNode':
      return { ...state, sent: true };
    case 'VmRestoreSourcesVerified':
    case 'VmRestoreSourcesDamaged':
      return { ...state, sources_checked: true };
    case 'VmDiskRestoreProgressed': {
      const { disk_id, phase, percent } = event.data;
      return { ...state, progress: new Map([...state.progress, [disk_id, { phase, percent }]]) };
    }
    case 'VmRestoreCompleted':
      return { ...state, status: 'completed' };
    case 'VmRestoreFailed':
      return { ...state, status: 'failed' };
    case 'VmRestoreCancelled':
      return { ...state, status: 'cancelled' };
    case 'InstantVmGivenUp':
      return { ...state, given_up: true };
    case 'VmRestoreCleanedUp':
      return { ...state, cleaned_up: true };
    default:
      return unknownVariant('VM restore stream', event);
  }
}

/** The current stage of a restore, as in VmRestoreFailed. */
export function vmRestoreStage(state: KnownVmRestore): VmRestoreStage {
  if (!state.sent) return 'preparing';
  return state.job.disks.every(({ disk_id }) => state.progress.get(disk_id)?.phase === 'completed') ? 'defining' : 'copying';
}

export const vmRestoreDecider = decidersOf<VmRestoreState, VmRestoreEvent>(initialVmRestoreState, evolveVmRestore);
