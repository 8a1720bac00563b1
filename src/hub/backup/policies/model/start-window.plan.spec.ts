import { describe, expect, it } from '@jest/globals';
import type { Blackout, StartWindow } from './policy.events.js';
import { admit, jitterSeconds, mayStart, type StartRules } from './start-window.plan.js';

const rules = (start_window: StartWindow | null, ...blackouts: readonly Blackout[]): StartRules => ({ time_zone: 'Europe/Berlin', start_window, blackouts });
const night: StartWindow = { from: '22:00', until: '06:00', days: [] };
const closed = { refused: 'window_closed' };

describe('a start window', () => {
  it.each([
    ['2027-01-05T20:59:00.000Z', false],
    ['2027-01-05T21:00:00.000Z', true],
    ['2027-01-06T04:59:59.000Z', true],
    ['2027-01-06T05:00:00.000Z', false],
    // In summer the same wall times are an hour earlier.
    ['2027-07-05T20:00:00.000Z', true],
    ['2027-07-06T04:00:00.000Z', false],
  ])('across midnight at %s is open: %s', (at, open) => {
    expect(mayStart(at, rules(night))).toBe(open);
    expect(admit(at, rules(night))).toEqual(open ? { start: at } : closed);
  });

  it('belongs to the day on which it opens', () => {
    const friday = rules({ ...night, days: ['fri'] });
    expect(mayStart('2027-01-08T22:00:00.000Z', friday)).toBe(true);
    expect(mayStart('2027-01-09T03:00:00.000Z', friday)).toBe(true);
    expect(mayStart('2027-01-09T22:00:00.000Z', friday)).toBe(false);
    expect(mayStart('2027-01-08T03:00:00.000Z', friday)).toBe(false);
    const workdays = rules({ from: '08:00', until: '17:00', days: ['mon', 'tue'] });
    expect(mayStart('2027-01-05T09:00:00.000Z', workdays)).toBe(true);
    expect(mayStart('2027-01-06T09:00:00.000Z', workdays)).toBe(false);
  });

  it('with the same beginning and end is open all day', () => {
    expect(mayStart('2027-01-05T20:59:00.000Z', rules({ from: '00:00', until: '00:00', days: [] }))).toBe(true);
  });
});

describe('a blackout', () => {
  const blackout = (from: number, until: number, effect: Blackout['effect']): Blackout => ({
    from: `2027-01-05T${from}:00:00.000Z`,
    until: `2027-01-05T${until}:00:00.000Z`,
    effect,
  });

  it('defers a start to its end, through others that follow', () => {
    expect(admit('2027-01-05T10:00:00.000Z', rules(null, blackout(10, 12, 'defer')))).toEqual({ start: '2027-01-05T12:00:00.000Z' });
    expect(admit('2027-01-05T12:00:00.000Z', rules(null, blackout(10, 12, 'defer')))).toEqual({ start: '2027-01-05T12:00:00.000Z' });
    expect(admit('2027-01-05T10:30:00.000Z', rules(null, blackout(11, 15, 'defer'), blackout(10, 12, 'defer')))).toEqual({ start: '2027-01-05T15:00:00.000Z' });
  });

  it('skips a start, also a deferred one', () => {
    expect(admit('2027-01-05T10:00:00.000Z', rules(null, blackout(10, 12, 'skip')))).toEqual({ refused: 'blackout' });
    expect(admit('2027-01-05T10:00:00.000Z', rules(null, blackout(10, 12, 'defer'), blackout(12, 13, 'skip')))).toEqual({ refused: 'blackout' });
  });

  it('defers no start beyond the window', () => {
    const day: StartWindow = { from: '08:00', until: '12:00', days: [] };
    expect(admit('2027-01-05T10:00:00.000Z', rules(day, blackout(10, 12, 'defer')))).toEqual(closed);
  });
});

describe('the jitter', () => {
  it('is none without a spread, and else always the same within it', () => {
    expect(jitterSeconds('p', 'v', 0)).toBe(0);
    expect(jitterSeconds('p1', 'v1', 600)).toBe(jitterSeconds('p1', 'v1', 600));
    expect(jitterSeconds('p1', 'v1', 600)).toBe(105);
  });

  it('spreads many VMs evenly', () => {
    const buckets = Array.from({ length: 10 }, () => 0);
    for (let vm = 0; vm < 10_000; vm++) {
      const seconds = jitterSeconds('policy', `vm-${vm}`, 600);
      expect(seconds).toBeLessThan(600);
      const bucket = Math.floor(seconds / 60);
      buckets[bucket] = (buckets[bucket] ?? 0) + 1;
    }
    for (const vms of buckets) expect(Math.abs(vms - 1000)).toBeLessThan(150);
  });
});
