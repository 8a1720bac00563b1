import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { forecastOf } from './capacity-forecast.plan.js';

const DAY_MS = 86_400_000;
const BEGIN = Date.parse('2027-01-01T12:00:00.000Z');
const at = (day: number, used: number, total_bytes = 100_000) => ({
  total_bytes,
  free_bytes: total_bytes - used,
  measured_at: new Date(BEGIN + day * DAY_MS).toISOString(),
});

describe('the forecast of a repository', () => {
  it('is the day on which steady growth fills it', () => {
    const measured = Array.from({ length: 10 }, (_, day) => at(day, 10_000 + day * 1000));
    expect(forecastOf(measured)).toEqual({ method: 'theil_sen', days_measured: 10, growth_bytes_per_day: 1000, full_on: '2027-04-01', reason: null });
  });

  it('is not moved by one large backup', () => {
    const measured = Array.from({ length: 15 }, (_, day) => at(day, day * 1000 + (day === 7 ? 50_000 : 0)));
    expect(forecastOf(measured).growth_bytes_per_day).toBe(1000);
  });

  it('does not look further back than 30 days', () => {
    const flat = Array.from({ length: 60 }, (_, day) => at(day, 1000));
    expect(forecastOf([...flat, ...Array.from({ length: 30 }, (_, day) => at(60 + day, 1000 + day * 100))]).growth_bytes_per_day).toBe(100);
  });

  it('says why there is none', () => {
    expect(forecastOf([])).toMatchObject({ full_on: null, reason: 'too_few_days', growth_bytes_per_day: null });
    expect(forecastOf(Array.from({ length: 100 }, (_, index) => at(index / 30, index)))).toMatchObject({ days_measured: 4, reason: 'too_few_days' });
    expect(forecastOf(Array.from({ length: 9 }, (_, day) => at(day, 5000 - day)))).toMatchObject({ full_on: null, reason: 'not_growing' });
    expect(forecastOf(Array.from({ length: 9 }, (_, day) => at(day, day)))).toMatchObject({ full_on: null, reason: 'beyond_ten_years' });
  });

  it('does not depend on the order of the measurements', () => {
    const measurements = fc.array(fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 100_000 })), { maxLength: 40 });
    fc.assert(
      fc.property(measurements, (list) => {
        const once = [...new Map(list)].map(([day, used]) => at(day, used));
        expect(forecastOf([...once].reverse())).toEqual(forecastOf(once));
      }),
    );
  });
});
