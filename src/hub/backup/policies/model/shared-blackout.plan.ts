import type { BlackoutSettings } from './blackout.events.js';
import { type Blackout, type StartWindow, WEEKDAYS } from './policy.events.js';
import { instantOf, wallNear } from './time-zone.plan.js';

/** What the starts of runs depend on. */
export type SharedBlackout = Omit<BlackoutSettings, 'name'>;

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

/**
 * The end of a shared blackout that covers an instant, as an instant; null: it does not. Decided by the wall clock, except for the hour that comes twice in
 * autumn: a blackout that has ended in the first does not begin again in the second.
 */
export function coveredUntil({ time_zone, effect, dates, weekly }: SharedBlackout, at: string): Pick<Blackout, 'until' | 'effect'> | null {
  const wall = wallNear(Date.parse(at), time_zone);
  const time = new Date(wall).toISOString().slice(0, 'yyyy-mm-ddThh:mm:ss.mmm'.length);
  const ends = [
    ...dates.flatMap(({ from, until }) => (from <= time && time < until ? [Date.parse(`${until}Z`)] : [])),
    ...weekly.flatMap((hours) => [wall, wall - DAY_MS].flatMap((day) => endOf(hours, day, wall))),
  ];
  const until = ends.map((end) => new Date(instantOf(end, time_zone)).toISOString()).reduce((last, end) => (end > last ? end : last), '');
  return until > at ? { until, effect } : null;
}

/** When, as a wall time, the hours end that begin on a day and cover a wall time; nothing: they do not. */
function endOf({ from, until, days }: StartWindow, day: number, wall: number): readonly number[] {
  if (days.length > 0 && !days.includes(WEEKDAYS[new Date(day).getUTCDay()] ?? 'sun')) return [];
  const midnight = Math.floor(day / DAY_MS) * DAY_MS;
  const end = midnight + msOf(until) + (until <= from ? DAY_MS : 0);
  return midnight + msOf(from) <= wall && wall < end ? [end] : [];
}

function msOf(timeOfDay: string): number {
  const [hours = 0, minutes = 0] = timeOfDay.split(':').map(Number);
  return (hours * 60 + minutes) * MINUTE_MS;
}
