import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { between, nextAfter, occurrenceName, occurrencesAfter, parseSchedule } from './schedule.plan.js';

const ANCHOR = '2027-01-01T00:00:00.000Z';
const ZONES = ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'] as const;

function runs(text: string, zone: string, after: string, count: number): readonly string[] {
  const found: string[] = [];
  for (const { at, wall_time } of occurrencesAfter(parseSchedule(text, zone, ANCHOR), after)) {
    if (found.length === count) break;
    found.push(`${wall_time} ${at}`);
  }
  return found;
}

describe('a schedule', () => {
  it.each([
    ['daily at 22:00', '2027-01-05T22:00'],
    ['  Daily  at 22:00 ', '2027-01-05T22:00'],
    ['0 22 * * *', '2027-01-05T22:00'],
    ['weekly on mon,thu at 01:30', '2027-01-07T01:30'],
    ['weekly on sun at 1:30', '2027-01-10T01:30'],
    ['monthly on 1 at 03:00', '2027-02-01T03:00'],
    ['monthly on 15, last at 03:00', '2027-01-15T03:00'],
    ['monthly on 31 at 03:00', '2027-01-31T03:00'],
    ['0 12 * * FRI#L', '2027-01-29T12:00'],
    ['0 0 29 2 *', '2028-02-29T00:00'],
    ['*/20 8-9 * * mon-fri', '2027-01-06T08:00'],
  ])('"%s" runs next at %s', (text, expected) => {
    expect(nextAfter(parseSchedule(text, 'Europe/Berlin', ANCHOR), '2027-01-05T12:00:00.000Z')?.wall_time).toBe(expected);
  });

  it.each([
    ['0 0 31 2 *', 'never_occurs'],
    ['monthly on 31 at 25:00', 'time_of_day'],
    ['0 0 30 2 *', 'never_occurs'],
    ['0 0 31 4,6,9,11 *', 'never_occurs'],
    ['every 0m', 'interval'],
    ['every 400d', 'interval'],
    ['every 90s', 'form'],
    ['weekly on someday at 10:00', 'weekday'],
    ['monthly on 0 at 10:00', 'day_of_month'],
    ['monthly on 32 at 10:00', 'expression'],
    ['daily at 22', 'form'],
    ['61 * * * *', 'expression'],
    ['0 0 * * 8', 'expression'],
    ['* * * * * *', 'form'],
    ['@daily', 'form'],
    ['2027-02-01T00:00:00', 'form'],
    ['', 'form'],
    ['sometimes', 'form'],
  ])('"%s" is refused by the rule %s', (text, rule) => {
    expect(() => parseSchedule(text, 'UTC', ANCHOR)).toThrow(expect.objectContaining({ code: 'schedule_invalid', facts: { field: 'schedule', rule } }));
  });

  it('in an unknown zone is refused', () => {
    expect(() => parseSchedule('every 4h', 'Nowhere', ANCHOR)).toThrow(expect.objectContaining({ code: 'time_zone_unknown' }));
  });
});

describe('the night on which clocks go forward', () => {
  it.each([
    ['Europe/Berlin', '30 2 * * *', '2027-03-27T12:00:00.000Z', ['2027-03-28T02:30 2027-03-28T01:00:00.000Z', '2027-03-29T02:30 2027-03-29T00:30:00.000Z']],
    ['America/New_York', '30 2 * * *', '2027-03-13T12:00:00.000Z', ['2027-03-14T02:30 2027-03-14T07:00:00.000Z', '2027-03-15T02:30 2027-03-15T06:30:00.000Z']],
    [
      'Australia/Lord_Howe',
      '15 2 * * *',
      '2027-10-02T12:00:00.000Z',
      ['2027-10-03T02:15 2027-10-02T15:30:00.000Z', '2027-10-04T02:15 2027-10-03T15:15:00.000Z'],
    ],
  ])('in %s runs "%s" once, at the first valid instant', (zone, text, after, expected) => {
    expect(runs(text, zone, after, 2)).toEqual(expected);
  });

  it('runs the times that are skipped together once', () => {
    expect(runs('*/30 * * * *', 'Europe/Berlin', '2027-03-28T00:15:00.000Z', 3)).toEqual([
      '2027-03-28T01:30 2027-03-28T00:30:00.000Z',
      '2027-03-28T02:00 2027-03-28T01:00:00.000Z',
      '2027-03-28T03:30 2027-03-28T01:30:00.000Z',
    ]);
  });
});

describe('the night on which clocks go back', () => {
  it.each([
    ['Europe/Berlin', '30 2 * * *', '2027-10-30T12:00:00.000Z', ['2027-10-31T02:30 2027-10-31T00:30:00.000Z', '2027-11-01T02:30 2027-11-01T01:30:00.000Z']],
    ['America/New_York', '30 1 * * *', '2027-11-06T12:00:00.000Z', ['2027-11-07T01:30 2027-11-07T05:30:00.000Z', '2027-11-08T01:30 2027-11-08T06:30:00.000Z']],
    [
      'Australia/Lord_Howe',
      '45 1 * * *',
      '2027-04-03T12:00:00.000Z',
      ['2027-04-04T01:45 2027-04-03T14:45:00.000Z', '2027-04-05T01:45 2027-04-04T15:15:00.000Z'],
    ],
  ])('in %s runs "%s" once, at the first of the two', (zone, text, after, expected) => {
    expect(runs(text, zone, after, 2)).toEqual(expected);
  });

  it('has no run of its own in the second of the doubled hours', () => {
    const schedule = parseSchedule('0 * * * *', 'Europe/Berlin', ANCHOR);
    expect(nextAfter(schedule, '2027-10-31T00:00:00.000Z')).toEqual({ at: '2027-10-31T02:00:00.000Z', wall_time: '2027-10-31T03:00' });
    expect(nextAfter(schedule, '2027-10-31T01:30:00.000Z')).toEqual({ at: '2027-10-31T02:00:00.000Z', wall_time: '2027-10-31T03:00' });
  });

  it('"every 4h" counts elapsed time, whatever the clock does', () => {
    expect(runs('every 4h', 'Europe/Berlin', '2027-10-30T20:00:00.000Z', 3)).toEqual(
      ['2027-10-31T00:00:00.000Z', '2027-10-31T04:00:00.000Z', '2027-10-31T08:00:00.000Z'].map((at) => `${at} ${at}`),
    );
  });
});

describe('leap days and ends of months', () => {
  it('runs on 29 February only where there is one, and on "last" always', () => {
    const leap = parseSchedule('0 3 29 2 *', 'Europe/Berlin', ANCHOR);
    expect(between(leap, '2027-01-01T00:00:00.000Z', '2033-01-01T00:00:00.000Z').map(({ wall_time }) => wall_time)).toEqual([
      '2028-02-29T03:00',
      '2032-02-29T03:00',
    ]);
    const last = parseSchedule('monthly on last at 03:00', 'UTC', ANCHOR);
    expect(between(last, '2028-01-31T12:00:00.000Z', '2028-04-01T00:00:00.000Z').map(({ wall_time }) => wall_time)).toEqual([
      '2028-02-29T03:00',
      '2028-03-31T03:00',
    ]);
  });
});

describe('the runs between two instants', () => {
  it('include the end and not the beginning', () => {
    const schedule = parseSchedule('every 1h', 'UTC', ANCHOR);
    expect(between(schedule, '2027-01-01T01:00:00.000Z', '2027-01-01T03:00:00.000Z').map(({ at }) => at)).toEqual([
      '2027-01-01T02:00:00.000Z',
      '2027-01-01T03:00:00.000Z',
    ]);
    expect(between(schedule, '2027-01-02T00:00:00.000Z', '2027-01-01T00:00:00.000Z')).toEqual([]);
    expect(nextAfter(schedule, '2020-01-01T00:00:00.000Z')?.at).toBe('2027-01-01T01:00:00.000Z');
  });

  it('over three years are the same however often the time between is cut, each with a name of its own', () => {
    const begin = Date.parse(ANCHOR);
    const threeYears = 3 * 365 * 24 * 60;
    const texts = ['30 2 * * *', 'daily at 01:45', '15,45 1-3 * 3,4,10,11 *', 'weekly on sun at 02:15', 'monthly on 1,last at 02:30', 'every 7h'];
    fc.assert(
      fc.property(
        fc.constantFrom(...ZONES),
        fc.constantFrom(...texts),
        fc.uniqueArray(fc.integer({ min: 1, max: threeYears - 1 }), { maxLength: 40 }),
        (zone, text, cuts) => {
          const schedule = parseSchedule(text, zone, ANCHOR);
          const whole = between(schedule, ANCHOR, new Date(begin + threeYears * 60_000).toISOString());
          const instants = [0, ...cuts.sort((a, b) => a - b), threeYears].map((minutes) => new Date(begin + minutes * 60_000).toISOString());
          const pieces = instants.slice(1).flatMap((to, index) => between(schedule, instants[index] ?? '', to));
          expect(pieces).toEqual(whole);
          expect(new Set(whole.map((due) => occurrenceName('p', due, zone))).size).toBe(whole.length);
        },
      ),
      { numRuns: 8 },
    );
  });

  it('of a daily schedule are one for each day of three years, in each zone', () => {
    for (const zone of ZONES) {
      for (const time of ['01:30', '02:00', '02:15', '02:30', '03:00']) {
        const days = between(parseSchedule(`daily at ${time}`, zone, ANCHOR), '2027-01-01T12:00:00.000Z', '2030-01-01T12:00:00.000Z');
        expect(days).toHaveLength(1096);
      }
    }
  });
});

describe('the name of an occurrence', () => {
  const due = { at: '2027-03-28T01:00:00.000Z', wall_time: '2027-03-28T02:30' };

  it('is made of policy, wall time and zone', () => {
    expect(occurrenceName('p1', due, 'Europe/Berlin')).toBe('occurrence/p1/2027-03-28T02:30[Europe/Berlin]');
    expect(occurrenceName('p1', { ...due, at: 'another' }, 'Europe/Berlin')).toBe(occurrenceName('p1', due, 'Europe/Berlin'));
    expect(occurrenceName('p2', due, 'Europe/Berlin')).not.toBe(occurrenceName('p1', due, 'Europe/Berlin'));
  });
});
