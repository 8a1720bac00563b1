import { DomainError } from '../../../../kernel/domain-error.js';

const HOUR_MS = 3_600_000;
/** Making one takes 50 µs, and policies name few zones. */
const formats = new Map<string, Intl.DateTimeFormat>();

/** The name under which the zone is known, such as `Europe/Berlin`. @throws DomainError time_zone_unknown */
export function knownZone(name: string): string {
  try {
    // Offsets such as +02:00 are refused: they know no daylight saving time.
    if (/^[A-Za-z]/.test(name)) return formatOf(name).resolvedOptions().timeZone;
  } catch {
    // A RangeError: the zone is unknown.
  }
  throw new DomainError('invalid', 'time_zone_unknown', `time_zone must be the name of a time zone, such as Europe/Berlin or UTC; "${name}" is none.`, {
    field: 'time_zone',
    rule: 'known_zone',
  });
}

/** What a clock on the wall of the zone shows, as milliseconds that would be that time in UTC. */
export function wallOf(instantMs: number, zone: string): number {
  const format = formatOf(zone);
  const parts = new Map(format.formatToParts(instantMs).map(({ type, value }) => [type, Number(value)]));
  const of = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? 0;
  return Date.UTC(of('year'), of('month') - 1, of('day'), of('hour'), of('minute'), of('second'));
}

const clocks = new Map<string, (instantMs: number) => number>();

/** As `wallOf`, for instants close to each other: what `wallClockOf` has looked up is kept for a while. */
export function wallNear(instantMs: number, zone: string): number {
  let clock = clocks.get(zone);
  if (clock === undefined) clocks.set(zone, (clock = wallClockOf(zone)));
  return clock(instantMs);
}

/** Offsets of hours that a clock remembers: more than three years. */
const MOST_HOURS = 30_000;

/** As `wallOf`, for many instants of one zone: the zone's offset is looked up once for each hour that an instant falls into. */
export function wallClockOf(zone: string): (instantMs: number) => number {
  const offsets = new Map<number, number | null>();
  return (instantMs) => {
    const hour = Math.floor(instantMs / HOUR_MS);
    let offset = offsets.get(hour);
    if (offset === undefined) {
      if (offsets.size >= MOST_HOURS) offsets.clear();
      const [begin, end] = [hour * HOUR_MS, (hour + 1) * HOUR_MS].map((at) => wallOf(at, zone) - at);
      // null: the offset changes within the hour.
      offset = begin === undefined || begin !== end ? null : begin;
      offsets.set(hour, offset);
    }
    return offset === null ? wallOf(instantMs, zone) : instantMs + offset;
  };
}

/** The instant at which the wall clock shows this time: the first of two in autumn; in spring, for a skipped time, the first valid instant after it. */
export function instantOf(wallMs: number, zone: string): number {
  // No zone is more than 14 hours away from UTC, so these instants are on either side of the wanted one.
  let before = wallMs - 24 * HOUR_MS;
  let after = wallMs + 24 * HOUR_MS;
  const [earlier, later] = [before, after].map((instant) => wallMs - (wallOf(instant, zone) - instant)).sort((a, b) => a - b);
  for (const instant of [earlier, later]) if (instant !== undefined && wallOf(instant, zone) === wallMs) return instant;
  while (after - before > 1_000) {
    const middle = before + Math.floor((after - before) / 2_000) * 1_000;
    if (wallOf(middle, zone) < wallMs) before = middle;
    else after = middle;
  }
  return after;
}

/** @throws RangeError the zone is unknown */
function formatOf(zone: string): Intl.DateTimeFormat {
  let format = formats.get(zone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
    formats.set(zone, format);
  }
  return format;
}
