import type { RunningOccurrence, RunVm } from '../model/occurrence.state.js';

export interface OccurrencePlan {
  /** Their backups are to be requested now. */
  readonly request: readonly RunVm[];
  /** Backups whose end is awaited. */
  readonly awaited: readonly (RunVm & { readonly backup_id: string })[];
  /** When the next backup is to be requested; null: none is planned for later. */
  readonly next_at: string | null;
  readonly is_over: boolean;
}

/** What is to be done for a run. */
export function planOccurrence({ vms }: RunningOccurrence, now: string): OccurrencePlan {
  const planned = vms.filter(({ stage }) => stage === 'planned');
  const [next_at = null] = planned
    .map(({ start_at }) => start_at)
    .filter((at) => at > now)
    .sort();
  return {
    request: planned.filter(({ start_at }) => start_at <= now),
    awaited: vms.flatMap((vm) => (vm.stage === 'requested' && vm.backup_id !== null ? [{ ...vm, backup_id: vm.backup_id }] : [])),
    next_at,
    is_over: vms.every(({ stage }) => stage === 'ended'),
  };
}
