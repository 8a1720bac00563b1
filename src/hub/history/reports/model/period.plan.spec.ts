import { describe, expect, it } from '@jest/globals';
import { isBroken, judgedAt, periodOf } from './period.plan.js';

const TIMES = { now: '2027-03-01T00:00:00.000Z', recorded: '2027-02-01T00:00:00.000Z' };

describe('the instant of a report', () => {
  it('is that of the records, or a later one up to now', () => {
    expect(judgedAt(undefined, TIMES)).toEqual({ at: TIMES.recorded });
    for (const at of [TIMES.recorded, TIMES.now]) expect(judgedAt(at, TIMES)).toEqual({ at });
  });

  it.each([
    ['2027-03-01T00:00:00.001Z', 'not_in_future'],
    ['2027-01-31T23:59:59.999Z', 'not_before_as_of'],
  ])('is not %s: %s', (at, rule) => {
    const found = judgedAt(at, TIMES);
    expect([isBroken(found), found]).toMatchObject([true, { field: 'at', rule }]);
  });
});

describe('the period of a report', () => {
  it('is the last 30 days unless it is named', () => {
    expect(periodOf({}, TIMES)).toEqual({ from: '2027-01-02T00:00:00.000Z', until: TIMES.recorded });
    expect(periodOf({ until: '2027-01-31T00:00:00.000Z' }, TIMES)).toEqual({ from: '2027-01-01T00:00:00.000Z', until: '2027-01-31T00:00:00.000Z' });
    const asked = { from: '2026-01-01T00:00:00.000Z', until: '2026-01-02T00:00:00.000Z' };
    expect(periodOf(asked, TIMES)).toEqual(asked);
  });

  it('may end after the records, which says that nothing followed', () => {
    expect(periodOf({ until: TIMES.now }, TIMES)).toMatchObject({ until: TIMES.now });
  });

  it.each([
    [{ until: '2027-03-01T00:00:00.001Z' }, 'until', 'not_in_future'],
    [{ from: TIMES.recorded }, 'from', 'before_until'],
    [{ from: '2025-12-27T00:00:00.000Z' }, 'from', 'max_period'],
  ])('is not %j', (asked, field, rule) => {
    expect(periodOf(asked, TIMES)).toMatchObject({ field, rule });
  });

  it('has at most 400 days', () => {
    const from = '2025-12-28T00:00:00.000Z';
    expect(periodOf({ from, until: '2027-02-01T00:00:00.000Z' }, TIMES)).toEqual({ from, until: '2027-02-01T00:00:00.000Z' });
    expect(periodOf({ from, until: '2027-02-01T00:00:00.001Z' }, TIMES)).toMatchObject({ field: 'from', rule: 'max_period' });
  });
});
