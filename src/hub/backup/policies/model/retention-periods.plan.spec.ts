import { describe, expect, it } from '@jest/globals';
import { durationMs, periodName, periodOf } from './retention-periods.plan.js';

const DAY_MS = 86_400_000;

describe('a period', () => {
  it('is the month and year of the calendar on each day of four centuries', () => {
    for (let day = Date.UTC(1900, 0, 1); day < Date.UTC(2300, 0, 1); day += DAY_MS) {
      const date = new Date(day);
      if (periodOf('monthly', day) !== date.getUTCFullYear() * 12 + date.getUTCMonth()) throw new Error(`${date.toISOString()} has another month`);
      if (periodOf('yearly', day) !== date.getUTCFullYear()) throw new Error(`${date.toISOString()} has another year`);
    }
  });

  it.each([
    ['2026-02-28T23:59:59.999Z', ['2026-02-28', '2026-W09', '2026-02', '2026']],
    ['2028-02-29T00:00:00.000Z', ['2028-02-29', '2028-W09', '2028-02', '2028']],
    ['2027-01-03T23:59:59.999Z', ['2027-01-03', '2026-W53', '2027-01', '2027']],
    ['2027-01-04T00:00:00.000Z', ['2027-01-04', '2027-W01', '2027-01', '2027']],
  ])('at %s is named %j', (wall, names) => {
    expect((['daily', 'weekly', 'monthly', 'yearly'] as const).map((tier) => periodName(tier, periodOf(tier, Date.parse(wall))))).toEqual(names);
  });
});

describe('a duration', () => {
  it.each([
    ['36h', 36 * 3_600_000],
    ['14d', 14 * DAY_MS],
    ['8w', 56 * DAY_MS],
  ])('of %s is %d ms', (text, expected) => {
    expect(durationMs(text)).toBe(expected);
  });

  it.each(['', '0d', '5m', '1.5d', '14 d', '-1d'])('"%s" is none', (text) => {
    expect(() => durationMs(text)).toThrow('is not a duration');
  });
});
