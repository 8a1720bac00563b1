import { Cron } from 'croner';
import { DomainError } from '../../../../kernel/domain-error.js';
import { WEEKDAYS } from './policy.events.js';
import { instantOf, knownZone, wallOf } from './time-zone.plan.js';

const MINUTE_MS = 60_000;
const UNITS: Readonly<Record<string, number>> = { m: MINUTE_MS, h: 60 * MINUTE_MS, d: 24 * 60 * MINUTE_MS };
const LONGEST_INTERVAL_MS = 366 * 24 * 60 * MINUTE_MS;

const EVERY = /^every (\d{1,6}) ?([mhd])$/;
const AT = /^(daily|weekly on (.+)|monthly on (.+)) at (\d\d?):(\d\d)$/;
const FIVE_FIELDS = /^[^\s@]+( [^\s@]+){4}$/;

export type Schedule =
  | { readonly kind: 'calendar'; readonly cron: Cron; readonly zone: string }
  | { readonly kind: 'interval'; readonly everyMs: number; readonly anchorMs: number };

/** An expected run. */
export interface Due {
  /** ISO 8601, UTC. */
  readonly at: string;
  /** The planned time in the zone of the policy, `2027-03-28T02:30`, even if the clock skips it; for `every N` in UTC, with a Z. */
  readonly wall_time: string;
}

/**
 * Reads a cron expression of five fields, or one of the plain forms `every 4h`, `daily at 22:00`, `weekly on mon,thu at 01:30`, `monthly on 1,last at 03:00`.
 * @param anchor the instant from which `every N` counts
 * @throws DomainError schedule_invalid, time_zone_unknown
 */
export function parseSchedule(text: string, timeZone: string, anchor: string): Schedule {
  const zone = knownZone(timeZone);
  const plain = text.trim().replaceAll(/\s+/g, ' ').toLowerCase();
  const every = EVERY.exec(plain);
  if (every !== null) {
    const everyMs = Number(every[1]) * (UNITS[every[2] ?? ''] ?? 0);
    if (everyMs === 0 || everyMs > LONGEST_INTERVAL_MS) throw refused('interval', 'The interval of "every" must be from 1 minute to 366 days.');
    return { kind: 'interval', everyMs, anchorMs: Date.parse(anchor) };
  }
  const cron = cronOf(patternOf(plain));
  if (cron.nextRun(new Date(anchor)) === null) throw refused('never_occurs', `"${text}" names a date that does not exist, so it would never run.`);
  return { kind: 'calendar', cron, zone };
}

/** The expected runs after an instant, in order and without end. Wall times that a clock skips together are one run, under the name of the first. */
export function* occurrencesAfter(schedule: Schedule, after: string): Generator<Due, void, void> {
  let last = Date.parse(after);
  if (schedule.kind === 'interval') {
    const { everyMs, anchorMs } = schedule;
    for (let count = Math.max(1, Math.floor((last - anchorMs) / everyMs) + 1); ; count++) {
      const at = new Date(anchorMs + count * everyMs).toISOString();
      yield { at, wall_time: at };
    }
  }
  const { cron, zone } = schedule;
  for (let wall = cron.nextRun(new Date(wallOf(last, zone))); wall !== null; wall = cron.nextRun(wall)) {
    const instant = instantOf(wall.getTime(), zone);
    if (instant <= last) continue;
    last = instant;
    yield { at: new Date(instant).toISOString(), wall_time: wall.toISOString().slice(0, 'yyyy-mm-ddThh:mm'.length) };
  }
}

/** null: there is none until the year 10000. */
export function nextAfter(schedule: Schedule, after: string): Due | null {
  const { value } = occurrencesAfter(schedule, after).next();
  return value ?? null;
}

/** The expected runs after `from`, up to and including `to`. */
export function between(schedule: Schedule, from: string, to: string): readonly Due[] {
  const found: Due[] = [];
  if (from >= to) return found;
  for (const due of occurrencesAfter(schedule, from)) {
    if (due.at > to) break;
    found.push(due);
  }
  return found;
}

/** What identifies an expected run, so that it has one end whatever happens to hub and clock. */
export function occurrenceName(policyId: string, { wall_time }: Due, zone: string): string {
  return `occurrence/${policyId}/${wall_time}[${zone}]`;
}

function patternOf(plain: string): string {
  const at = AT.exec(plain);
  if (at === null) {
    if (FIVE_FIELDS.test(plain)) return plain;
    throw refused(
      'form',
      'schedule must be "every 4h", "daily at 22:00", "weekly on mon,thu at 01:30", "monthly on 1 at 03:00" or a cron expression of five fields.',
    );
  }
  const [, , weekly, monthly, hour, minute] = at;
  if (Number(hour) > 23 || Number(minute) > 59) throw refused('time_of_day', `${hour ?? ''}:${minute ?? ''} is no time of day; use 00:00 to 23:59.`);
  const time = `${Number(minute)} ${Number(hour)}`;
  if (weekly !== undefined) return `${time} * * ${listed(weekly, (day) => WEEKDAYS.some((one) => one === day), 'weekday', 'A weekday is one of sun to sat.')}`;
  if (monthly === undefined) return `${time} * * *`;
  const days = listed(monthly, (day) => /^(\d\d?|last)$/.test(day) && day !== '0', 'day_of_month', 'A day of the month is 1 to 31 or "last".');
  return `${time} ${days.replaceAll('last', 'L')} * *`;
}

function listed(text: string, isOne: (part: string) => boolean, rule: string, sentence: string): string {
  const parts = text.split(/ ?, ?/);
  const wrong = parts.find((part) => !isOne(part));
  if (wrong !== undefined) throw refused(rule, `${sentence} "${wrong}" is none.`);
  return parts.join(',');
}

/** Its times are those on the wall, as UTC. With `utcOffset` instead of the time zone UTC, croner needs a sixth of the time. */
function cronOf(pattern: string): Cron {
  try {
    return new Cron(pattern, { utcOffset: 0, mode: '5-part' });
  } catch (error) {
    throw refused('expression', `schedule is no valid cron expression: ${error instanceof Error ? error.message.replace(/^CronPattern: /, '') : 'unreadable'}`);
  }
}

function refused(rule: string, message: string): DomainError {
  return new DomainError('invalid', 'schedule_invalid', message, { field: 'schedule', rule });
}
