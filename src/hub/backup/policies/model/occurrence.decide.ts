import type {
  OccurrenceBackupCancelRequested,
  OccurrenceBackupEnded,
  OccurrenceBackupRequested,
  OccurrenceEnding,
  OccurrenceEvent,
} from './occurrence.events.js';
import type { OccurrenceState } from './occurrence.state.js';

export type OccurrenceStep =
  | { readonly kind: 'end'; readonly ending: OccurrenceEnding }
  | { readonly kind: 'backup_requested'; readonly data: OccurrenceBackupRequested['data'] }
  | { readonly kind: 'cancel_requested'; readonly data: OccurrenceBackupCancelRequested['data'] }
  | { readonly kind: 'backup_ended'; readonly data: OccurrenceBackupEnded['data'] }
  | { readonly kind: 'finish'; readonly finished_at: string };

/** An occurrence has exactly one end: whatever would be a second one is not recorded. */
export function decideOccurrence(step: OccurrenceStep, state: OccurrenceState): readonly OccurrenceEvent[] {
  if (step.kind === 'end') return state.status === 'none' ? [step.ending] : [];
  if (state.status !== 'running') return [];
  if (step.kind === 'finish') {
    if (state.vms.some(({ stage }) => stage !== 'ended')) return [];
    const completed = state.vms.filter(({ outcome }) => outcome === 'completed').length;
    return [{ type: 'OccurrenceFinished', data: { completed, not_completed: state.vms.length - completed, finished_at: step.finished_at } }];
  }
  const vm = state.vms.find(({ vm_id }) => vm_id === step.data.vm_id);
  if (vm?.attempt !== step.data.attempt || vm.stage === 'ended') return [];
  if (step.kind === 'backup_ended') return [{ type: 'OccurrenceBackupEnded', data: step.data }];
  if (step.kind === 'cancel_requested') {
    const isOwn = vm.stage === 'requested' && vm.backup_id === step.data.backup_id;
    return isOwn && vm.cancel === null ? [{ type: 'OccurrenceBackupCancelRequested', data: step.data }] : [];
  }
  return vm.stage === 'planned' ? [{ type: 'OccurrenceBackupRequested', data: step.data }] : [];
}
