import { beginRun, obstacleOf } from '../model/begin-run.plan.js';
import { type ExpectedRun, expectedRuns, nextRun, planEnding } from '../model/expected-runs.plan.js';
import type { SkipCode } from '../model/occurrence.events.js';
import type { ActivePolicy } from '../model/policy.state.js';
import { type Due, occurrenceName } from '../model/schedule.plan.js';
import type { Selection } from '../model/selection.plan.js';
import type { RunSettings } from '../model/start-window.plan.js';

/** Runs are enumerated day by day, so that whoever asks can pause in between. */
const SLICE_MS = 86_400_000;

/** A run that lies ahead. */
export interface PlannedRun {
  readonly due_at: string;
  readonly wall_time: string;
  /** `moved`: a blackout defers it. */
  readonly outcome: 'on_time' | 'moved' | 'skipped';
  /** null: it starts. */
  readonly reason: SkipCode | null;
  /** null: it is skipped. */
  readonly started_at: string | null;
  readonly starts: readonly { readonly vm_id: string; readonly start_at: string }[];
  /** VMs whose place in the spread is outside the start window. */
  readonly outside_window: number;
}

/**
 * The runs of a policy after an instant, up to and including another, as a hub ends them that is always there, and whose nodes and repository can always be
 * reached. A backup takes no time.
 * @param selectionAt the VMs of the policy at an instant
 */
export function* plannedRuns(
  policy: ActivePolicy & { readonly settings: RunSettings },
  from: string,
  to: string,
  selectionAt: (at: string) => Selection,
): Generator<PlannedRun, void, void> {
  let previous: { readonly wall_time: string; readonly ends_at: string } | null = null;
  let held: ExpectedRun | null = null;
  for (const run of runsBetween(policy, from, to)) {
    if (held !== null) {
      const planned = plan(policy, held, run, previous, selectionAt);
      previous = lastOf(planned) ?? previous;
      yield planned;
    }
    held = run;
  }
  if (held !== null) yield plan(policy, held, nextRun(policy.periods, held.at), previous, selectionAt);
}

function* runsBetween({ periods }: ActivePolicy, from: string, to: string): Generator<ExpectedRun, void, void> {
  for (let begin = from; begin < to;) {
    const slice = new Date(Date.parse(begin) + SLICE_MS).toISOString();
    const end = slice < to ? slice : to;
    yield* expectedRuns(periods, begin, end);
    begin = end;
  }
}

function plan(
  policy: ActivePolicy & { readonly settings: RunSettings },
  run: ExpectedRun,
  next: Due | null,
  previous: { readonly wall_time: string; readonly ends_at: string } | null,
  selectionAt: (at: string) => Selection,
): PlannedRun {
  const { policy_id, settings } = policy;
  const { at: due_at, wall_time } = run;
  const skipped = (reason: SkipCode): PlannedRun => ({ due_at, wall_time, outcome: 'skipped', reason, started_at: null, starts: [], outside_window: 0 });
  for (let now = due_at; ;) {
    const newer = next !== null && next.at <= now ? next : null;
    const ending = planEnding(run, { now, newer, next: newer === null ? next : null }, settings);
    switch (ending.kind) {
      case 'wait':
        // The hub looks again when the next run is due, if that comes first.
        now = next !== null && next.at > now && next.at < ending.until ? next.at : ending.until;
        continue;
      case 'skipped':
        return skipped(ending.reason);
      case 'missed':
      case 'catch_up':
        throw new Error(`a hub that is always there misses no run, but that of ${wall_time} was ${ending.kind}`);
      case 'start': {
        const { vms, left_out } = selectionAt(now);
        const running = previous !== null && previous.ends_at > now ? { wall_time: previous.wall_time, occurrence_id: 'before' } : null;
        const occurrence_id = occurrenceName(policy_id, run, run.time_zone);
        const names = { occurrence_id, policy_id, policy_name: settings.name, policy_version: run.version, trigger: 'schedule' as const };
        const identity = { ...names, due_at, wall_time, time_zone: run.time_zone };
        const begun = beginRun(identity, 'start', settings, { vms, left_out, obstacle: obstacleOf(vms, running) }, now);
        if (begun.type === 'OccurrenceSkipped') return skipped(begun.data.reason);
        if (begun.type === 'OccurrenceMissed') throw new Error('a run that begins is not missed');
        const starts = begun.data.vms.map(({ vm_id, start_at }) => ({ vm_id, start_at }));
        const outside_window = begun.data.left_out.length - left_out.length;
        return { due_at, wall_time, outcome: now === due_at ? 'on_time' : 'moved', reason: null, started_at: now, starts, outside_window };
      }
    }
  }
}

function lastOf({ wall_time, starts }: PlannedRun): { readonly wall_time: string; readonly ends_at: string } | null {
  const ends_at = starts.reduce((last, { start_at }) => (start_at > last ? start_at : last), '');
  return ends_at === '' ? null : { wall_time, ends_at };
}
