import type { Tier } from '../../backups/model/backup.events.js';

export const TIERS = ['daily', 'weekly', 'monthly', 'yearly'] as const satisfies readonly Tier[];

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const UNITS = { h: HOUR_MS, d: DAY_MS, w: 7 * DAY_MS } as const;
export const KEEP_WITHIN = /^([1-9]\d{0,3})([hdw])$/;

/** A duration such as `36h`, `30d` or `8w`; a day is 24 hours. */
export function durationMs(duration: string): number {
  const [, count, unit] = KEEP_WITHIN.exec(duration) ?? [];
  if (unit !== 'h' && unit !== 'd' && unit !== 'w') throw new Error(`"${duration}" is not a duration`);
  return Number(count) * UNITS[unit];
}

/** The period of a wall time, as a number that grows with time. */
export function periodOf(tier: Tier, wallMs: number): number {
  const day = Math.floor(wallMs / DAY_MS);
  switch (tier) {
    case 'daily':
      return day;
    case 'weekly':
      // Day 0 was a Thursday; ISO weeks begin on Mondays.
      return Math.floor((day + 3) / 7);
    case 'monthly':
      return monthOf(day);
    case 'yearly':
      return Math.floor(monthOf(day) / 12);
  }
}

/** Months since the year 0 of a day since 1970. Years are counted from March, so that the leap day is the last of its year. */
function monthOf(day: number): number {
  const sinceMarch0 = day + 719_468;
  const era = Math.floor(sinceMarch0 / 146_097);
  const dayOfEra = sinceMarch0 - era * 146_097;
  const yearOfEra = Math.floor((dayOfEra - Math.floor(dayOfEra / 1_460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  return (era * 400 + yearOfEra) * 12 + Math.floor((5 * dayOfYear + 2) / 153) + 2;
}

/** `2026-11-24`, `2026-W48`, `2026-11`, `2026`. */
export function periodName(tier: Tier, period: number): string {
  switch (tier) {
    case 'daily':
      return new Date(period * DAY_MS).toISOString().slice(0, 10);
    case 'weekly': {
      // The year of an ISO week is that of its Thursday.
      const thursday = new Date(period * 7 * DAY_MS);
      const dayOfYear = (thursday.getTime() - Date.UTC(thursday.getUTCFullYear(), 0, 1)) / DAY_MS;
      return `${thursday.getUTCFullYear()}-W${String(Math.floor(dayOfYear / 7) + 1).padStart(2, '0')}`;
    }
    case 'monthly':
      return `${Math.floor(period / 12)}-${String((period % 12) + 1).padStart(2, '0')}`;
    case 'yearly':
      return String(period);
  }
}
