import type { Space } from './capacity-level.plan.js';

const DAY_MS = 86_400_000;
/** The measurements that count, back from the newest. */
export const FORECAST_DAYS = 30;
const FEWEST_DAYS = 5;
/** Beyond it, a forecast of a month's growth says nothing. */
const FURTHEST_DAYS = 3650;

/** Why there is no day: fewer than five days were measured, no growth, or growth that fills the repository in more than ten years. */
export type NoForecast = 'too_few_days' | 'not_growing' | 'beyond_ten_years';

export type CapacityForecast = {
  readonly method: 'theil_sen';
  /** Days with a measurement among the last 30. */
  readonly days_measured: number;
  /** Median growth; null: too few days. */
  readonly growth_bytes_per_day: number | null;
  /** The day when the repository is full, as a date in UTC; null: see reason. */
  readonly full_on: string | null;
  readonly reason: NoForecast | null;
};

/**
 * When a repository is full: the Theil-Sen estimate, which is the median of the slopes between all pairs of days, from the newest value. Each day counts once,
 * by its last measurement. A single large backup or removal therefore does not move the forecast.
 * @param measured in any order
 */
export function forecastOf(measured: readonly (Space & { readonly measured_at: string })[]): CapacityForecast {
  const byTime = measured.map(({ measured_at, total_bytes, free_bytes }) => ({ ms: Date.parse(measured_at), used: total_bytes - free_bytes, total_bytes }));
  byTime.sort((one, other) => one.ms - other.ms);
  const newest = byTime.at(-1);
  const lastOfDay = new Map<number, { readonly ms: number; readonly used: number }>();
  for (const each of byTime) if (newest !== undefined && newest.ms - each.ms < FORECAST_DAYS * DAY_MS) lastOfDay.set(Math.floor(each.ms / DAY_MS), each);
  const days = [...lastOfDay.values()];
  const found = { method: 'theil_sen', days_measured: days.length, growth_bytes_per_day: null, full_on: null } as const;
  if (newest === undefined || days.length < FEWEST_DAYS) return { ...found, reason: 'too_few_days' };
  const slopes = days.flatMap((one, index) => days.slice(index + 1).map((other) => ((other.used - one.used) / (other.ms - one.ms)) * DAY_MS));
  const growth = median(slopes);
  const growing = { ...found, growth_bytes_per_day: Math.round(growth) };
  if (growth <= 0) return { ...growing, reason: 'not_growing' };
  const left = (newest.total_bytes - newest.used) / growth;
  if (left > FURTHEST_DAYS) return { ...growing, reason: 'beyond_ten_years' };
  return { ...growing, full_on: new Date(newest.ms + left * DAY_MS).toISOString().slice(0, 10), reason: null };
}

function median(values: number[]): number {
  const sorted = values.sort((one, other) => one - other);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}
