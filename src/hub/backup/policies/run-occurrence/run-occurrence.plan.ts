import type { CancelCode } from '../model/occurrence.events.js';
import type { RunningOccurrence, RunVm } from '../model/occurrence.state.js';

export type AwaitedVm = RunVm & { readonly backup_id: string };

export interface OccurrencePlan {
  /** Their backups are to be requested now. */
  readonly request: readonly RunVm[];
  /** Their backups may not be requested any more. */
  readonly drop: readonly RunVm[];
  /** Backups whose end is awaited. */
  readonly awaited: readonly AwaitedVm[];
  /** When the next backup is to be requested; null: none is planned for later. */
  readonly next_at: string | null;
  readonly is_over: boolean;
}

/** What is to be done for a run. @param closed why backups may not run now; null: they may */
export function planOccurrence({ vms }: RunningOccurrence, now: string, closed: CancelCode | null): OccurrencePlan {
  const planned = vms.filter(({ stage }) => stage === 'planned');
  const due = planned.filter(({ start_at }) => start_at <= now);
  const [next_at = null] = planned
    .map(({ start_at }) => start_at)
    .filter((at) => at > now)
    .sort();
  return {
    request: closed === null ? due : [],
    drop: closed === null ? [] : due,
    awaited: vms.flatMap((vm) => (vm.stage === 'requested' && vm.backup_id !== null ? [{ ...vm, backup_id: vm.backup_id }] : [])),
    next_at,
    is_over: vms.every(({ stage }) => stage === 'ended'),
  };
}

export interface Cancellations {
  readonly cancel: readonly (AwaitedVm & { readonly reason: CancelCode })[];
  /** When the next backup may have waited too long; null: none waits, or without a limit. */
  readonly next_at: string | null;
}

/**
 * Which unfinished backups of a run are to be cancelled; again those whose cancellation has been recorded, because a hub may have been killed in between.
 * @param queued ids of the backups that wait in the queue
 */
export function planCancellations(
  unfinished: readonly AwaitedVm[],
  queued: ReadonlySet<string>,
  { closed, timeout_seconds, now }: { readonly closed: CancelCode | null; readonly timeout_seconds: number | null; readonly now: string },
): Cancellations {
  const cancel: (AwaitedVm & { readonly reason: CancelCode })[] = [];
  let next_at: string | null = null;
  for (const vm of unfinished) {
    const times_out_at = timeout_seconds === null || !queued.has(vm.backup_id) ? null : timeOutOf(vm, timeout_seconds);
    const isLate = times_out_at !== null && times_out_at <= now;
    const reason = vm.cancel ?? closed ?? (isLate ? 'concurrency_timeout' : null);
    if (reason !== null) cancel.push({ ...vm, reason });
    else if (times_out_at !== null && (next_at === null || times_out_at < next_at)) next_at = times_out_at;
  }
  return { cancel, next_at };
}

function timeOutOf({ requested_at }: RunVm, timeoutSeconds: number): string | null {
  return requested_at === null ? null : new Date(Date.parse(requested_at) + timeoutSeconds * 1_000).toISOString();
}

/** Why a VM of a run ended without a backup. */
export function cancelText(reason: CancelCode): string {
  switch (reason) {
    case 'window_closed':
      return 'The start window closed, and the policy lets backups run within it only.';
    case 'blackout':
      return 'A blackout began, and the policy lets backups run outside of blackouts only.';
    case 'concurrency_timeout':
      return 'The backup waited in the queue for longer than the policy allows.';
  }
}
