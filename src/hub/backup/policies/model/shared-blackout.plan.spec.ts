import { describe, expect, it } from '@jest/globals';
import { coveredUntil, type SharedBlackout } from './shared-blackout.plan.js';
import { admit, type StartRules } from './start-window.plan.js';

const none: SharedBlackout = { time_zone: 'Europe/Berlin', effect: 'defer', dates: [], weekly: [] };
const until = (blackout: Partial<SharedBlackout>, at: string): string | null => coveredUntil({ ...none, ...blackout }, at)?.until ?? null;

describe('a shared blackout', () => {
  it('covers its dates by the clock of its zone', () => {
    const dates = [{ from: '2026-12-24T16:00', until: '2026-12-27T00:00' }];
    expect(until({ dates }, '2026-12-24T14:59:59.999Z')).toBeNull();
    expect(until({ dates }, '2026-12-24T15:00:00.000Z')).toBe('2026-12-26T23:00:00.000Z');
    expect(until({ dates }, '2026-12-26T23:00:00.000Z')).toBeNull();
  });

  it('covers its hours every week, also beyond midnight', () => {
    const weekly = [{ from: '22:00', until: '02:00', days: ['fri'] as const }];
    expect(until({ weekly }, '2027-01-01T21:30:00.000Z')).toBe('2027-01-02T01:00:00.000Z');
    expect(until({ weekly }, '2027-01-02T00:59:00.000Z')).toBe('2027-01-02T01:00:00.000Z');
    expect(until({ weekly }, '2027-01-02T01:00:00.000Z')).toBeNull();
    expect(until({ weekly }, '2027-01-02T21:30:00.000Z')).toBeNull();
    expect(until({ weekly: [{ from: '00:00', until: '00:00', days: ['sat'] }] }, '2027-01-02T12:00:00.000Z')).toBe('2027-01-02T23:00:00.000Z');
  });

  it('ends once when the clock goes back, and at the first valid instant when it goes forward', () => {
    const weekly = [{ from: '01:00', until: '02:30', days: [] }];
    expect(until({ weekly }, '2027-10-31T00:10:00.000Z')).toBe('2027-10-31T00:30:00.000Z');
    expect(until({ weekly }, '2027-10-31T01:10:00.000Z')).toBeNull();
    expect(until({ weekly }, '2027-03-28T00:30:00.000Z')).toBe('2027-03-28T01:00:00.000Z');
  });
});

describe('a run that is due within a shared blackout', () => {
  const rules = (...shared_blackouts: readonly SharedBlackout[]): StartRules => ({ time_zone: 'UTC', start_window: null, blackouts: [], shared_blackouts });
  const office: SharedBlackout = { ...none, time_zone: 'UTC', weekly: [{ from: '08:00', until: '18:00', days: [] }] };

  it('is deferred to its end or left out', () => {
    expect(admit('2027-01-05T09:00:00.000Z', rules(office))).toEqual({ start: '2027-01-05T18:00:00.000Z' });
    expect(admit('2027-01-05T09:00:00.000Z', rules({ ...office, effect: 'skip' }))).toEqual({ refused: 'blackout' });
    expect(admit('2027-01-05T19:00:00.000Z', rules(office))).toEqual({ start: '2027-01-05T19:00:00.000Z' });
  });

  it('is left out if blackouts follow each other without an end', () => {
    const night: SharedBlackout = { ...office, weekly: [{ from: '18:00', until: '08:00', days: [] }] };
    expect(admit('2027-01-05T09:00:00.000Z', rules(office, night))).toEqual({ refused: 'blackout' });
  });
});
