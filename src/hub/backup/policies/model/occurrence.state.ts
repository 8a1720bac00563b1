import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { CancelCode, OccurrenceBackupEnded, OccurrenceEvent, OccurrenceStarted, OccurrenceVm } from './occurrence.events.js';

export type RunVm = OccurrenceVm & {
  /** From 1. */
  readonly attempt: number;
  readonly stage: 'planned' | 'requested' | 'ended';
  readonly backup_id: string | null;
  readonly outcome: OccurrenceBackupEnded['data']['outcome'] | null;
  /** null: not yet. */
  readonly requested_at: string | null;
  /** Why its backup is being cancelled; null: it is not. */
  readonly cancel: CancelCode | null;
};

export type OccurrenceState =
  | { readonly status: 'none' }
  /** Skipped or missed. */
  | { readonly status: 'not_started' }
  | { readonly status: 'running' | 'finished'; readonly run: OccurrenceStarted['data']; readonly vms: readonly RunVm[] };

export type RunningOccurrence = Extract<OccurrenceState, { status: 'running' | 'finished' }>;

export const initialOccurrenceState: OccurrenceState = { status: 'none' };

export function evolveOccurrence(state: OccurrenceState, event: OccurrenceEvent): OccurrenceState {
  switch (event.type) {
    case 'OccurrenceStarted':
    case 'OccurrenceCaughtUp': {
      const vms = event.data.vms.map((vm): RunVm => ({
        ...vm,
        attempt: 1,
        stage: 'planned',
        backup_id: null,
        outcome: null,
        requested_at: null,
        cancel: null,
      }));
      return { status: 'running', run: event.data, vms };
    }
    case 'OccurrenceSkipped':
    case 'OccurrenceMissed':
      return { status: 'not_started' };
    case 'OccurrenceBackupRequested': {
      const { vm_id, attempt, backup_id, requested_at } = event.data;
      return withVm(state, vm_id, (vm) => ({ ...vm, attempt, backup_id, requested_at, stage: 'requested' }));
    }
    case 'OccurrenceBackupCancelRequested': {
      const { vm_id, reason } = event.data;
      return withVm(state, vm_id, (vm) => ({ ...vm, cancel: reason }));
    }
    case 'OccurrenceBackupEnded': {
      const { vm_id, attempt, outcome, retry_at } = event.data;
      if (retry_at === null) return withVm(state, vm_id, (vm) => ({ ...vm, attempt, outcome, stage: 'ended' }));
      return withVm(state, vm_id, (vm) => ({ ...vm, attempt: attempt + 1, outcome, stage: 'planned', start_at: retry_at }));
    }
    case 'OccurrenceFinished':
      return { ...started(state), status: 'finished' };
    default:
      return unknownVariant('occurrence stream', event);
  }
}

function withVm(state: OccurrenceState, vmId: string, change: (vm: RunVm) => RunVm): OccurrenceState {
  const running = started(state);
  return { ...running, vms: running.vms.map((vm) => (vm.vm_id === vmId ? change(vm) : vm)) };
}

function started(state: OccurrenceState): RunningOccurrence {
  if (state.status === 'none' || state.status === 'not_started') throw new Error('occurrence stream has an event of a run that has not started');
  return state;
}

export const occurrenceDecider = decidersOf<OccurrenceState, OccurrenceEvent>(initialOccurrenceState, evolveOccurrence);
