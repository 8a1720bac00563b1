import { between, type Due, nextAfter, parseSchedule } from './schedule.plan.js';
import { admit, mayStart, type StartRules } from './start-window.plan.js';

/** A run that starts no later than this after its time is on time. */
const ON_TIME_MS = 60_000;
const CATCH_UP_WITHIN_MS = 12 * 3_600_000;
/** A missed run is not caught up if the next is closer than this. */
const NEXT_TOO_CLOSE_MS = 30 * 60_000;

/** A time in which one version of a policy was in force. */
export interface PolicyPeriod {
  readonly from: string;
  readonly version: number;
  readonly enabled: boolean;
  readonly schedule: string;
  readonly time_zone: string;
  /** From where `every N` counts. */
  readonly anchor: string;
}

export type ExpectedRun = Due & Pick<PolicyPeriod, 'version' | 'enabled' | 'time_zone'>;

/** Each run that the versions of a policy planned after `from`, up to and including `to`, by the version in force at its time. */
export function expectedRuns(periods: readonly PolicyPeriod[], from: string, to: string): readonly ExpectedRun[] {
  return periods.flatMap((period, index) => {
    const { version, enabled, schedule, time_zone, anchor } = period;
    const end = earlier(periods[index + 1]?.from ?? to, to);
    const begin = from > period.from ? from : period.from;
    if (begin >= end) return [];
    return between(parseSchedule(schedule, time_zone, anchor), begin, end).map((due) => ({ ...due, version, enabled, time_zone }));
  });
}

/** The next run of the policy as it is now; null: it is disabled. */
export function nextRun(periods: readonly PolicyPeriod[], after: string): Due | null {
  const current = periods.at(-1);
  if (current?.enabled !== true) return null;
  return nextAfter(parseSchedule(current.schedule, current.time_zone, current.anchor), after > current.from ? after : current.from);
}

export type RunEnding =
  | { readonly kind: 'start' | 'catch_up' }
  | { readonly kind: 'skipped'; readonly reason: 'paused' | 'blackout' | 'window_closed' | 'policy_deleted'; readonly detail: string }
  | { readonly kind: 'missed'; readonly reason: 'hub_down'; readonly detail: string }
  /** Nothing yet: a blackout defers it. */
  | { readonly kind: 'wait'; readonly until: string };

/** How an expected run ends whose time has come. `newer` is the next run that is due already, `next` the first in the future; null: none. */
export function planEnding(
  run: ExpectedRun,
  times: { readonly now: string; readonly newer: Due | null; readonly next: Due | null },
  rules: StartRules & { readonly catch_up: 'none' | 'latest' },
): RunEnding {
  const { now, newer, next } = times;
  if (!run.enabled) return { kind: 'skipped', reason: 'paused', detail: 'The policy was disabled.' };
  const admission = admit(run.at, rules);
  if ('refused' in admission) {
    const detail = admission.refused === 'blackout' ? 'A blackout covered its time.' : 'Its time was outside the start window.';
    return { kind: 'skipped', reason: admission.refused, detail };
  }
  const { start } = admission;
  if (newer !== null) {
    if (start >= newer.at) return { kind: 'skipped', reason: 'blackout', detail: 'A blackout deferred it until the next run was due.' };
    return missed('The hub was not running at its time, and a later run has been due since.');
  }
  if (start > now) return { kind: 'wait', until: start };
  const lateMs = Date.parse(now) - Date.parse(start);
  if (lateMs <= ON_TIME_MS) return { kind: 'start' };
  if (rules.catch_up === 'none') return missed('The hub was not running at its time, and the policy catches nothing up.');
  if (lateMs > CATCH_UP_WITHIN_MS) return missed('The hub was not running for more than 12 hours after its time.');
  if (next !== null && Date.parse(next.at) - Date.parse(now) < NEXT_TOO_CLOSE_MS) {
    return missed('The hub was not running at its time, and the next run is due in less than 30 minutes.');
  }
  if (mayStart(now, rules)) return { kind: 'catch_up' };
  const deferred = admit(now, rules);
  return 'start' in deferred ? { kind: 'wait', until: deferred.start } : missed('The hub was not running at its time, and backups may not start now.');
}

/** The end of a run that is due when its policy is deleted: nothing begins any more. */
export function endingOfDeleted(ending: RunEnding): Exclude<RunEnding, { kind: 'start' | 'catch_up' | 'wait' }> {
  if (ending.kind === 'skipped' || ending.kind === 'missed') return ending;
  return { kind: 'skipped', reason: 'policy_deleted', detail: 'The deletion of the policy was requested before the run began.' };
}

function missed(detail: string): RunEnding {
  return { kind: 'missed', reason: 'hub_down', detail };
}

function earlier(a: string, b: string): string {
  return a < b ? a : b;
}
