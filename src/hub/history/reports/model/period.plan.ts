import type { ReportParameters } from './report.plan.js';

export const MAX_PERIOD_DAYS = 400;
const DEFAULT_PERIOD_DAYS = 30;
const DAY_MS = 86_400_000;

/** The time that a report is about, from `from` up to but without `until`. */
export type Period = { readonly from: string; readonly until: string };

/** What a report is judged by: the clock, and the time of the instant whose records it reads. */
export interface ReportTimes {
  readonly now: string;
  readonly recorded: string;
}

export interface BrokenRule {
  readonly field: string;
  readonly rule: string;
  readonly message: string;
}

/** The instant at which ages are judged; default: that of the records. */
export function judgedAt(at: string | undefined, { now, recorded }: ReportTimes): { readonly at: string } | BrokenRule {
  if (at === undefined) return { at: recorded };
  if (at > now) return notInFuture('at');
  if (at < recorded) {
    return { field: 'at', rule: 'not_before_as_of', message: `at must not be before ${recorded}, whose records the report reads; pass the time as as_of` };
  }
  return { at };
}

/** The period of a report; default: the 30 days before the instant of the records. */
export function periodOf(asked: Partial<Period>, { now, recorded }: ReportTimes): Period | BrokenRule {
  const until = asked.until ?? recorded;
  const from = asked.from ?? new Date(Date.parse(until) - DEFAULT_PERIOD_DAYS * DAY_MS).toISOString();
  if (until > now) return notInFuture('until');
  if (from >= until) return { field: 'from', rule: 'before_until', message: `from must be before ${until}, the end of the period` };
  if (Date.parse(until) - Date.parse(from) > MAX_PERIOD_DAYS * DAY_MS) {
    return { field: 'from', rule: 'max_period', message: `from must be at most ${MAX_PERIOD_DAYS} days before the end of the period` };
  }
  return { from, until };
}

export function isBroken(found: ReportParameters | BrokenRule): found is BrokenRule {
  return 'rule' in found;
}

function notInFuture(field: string): BrokenRule {
  return { field, rule: 'not_in_future', message: `${field} must not be in the future` };
}
