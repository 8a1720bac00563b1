import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type ExpectedRun, endingOfDeleted, expectedRuns, nextRun, planEnding, type PolicyPeriod } from './expected-runs.plan.js';
import { occurrenceName } from './schedule.plan.js';
import type { StartRules } from './start-window.plan.js';

const period: PolicyPeriod = {
  from: '2027-01-01T00:00:00.000Z',
  version: 1,
  enabled: true,
  schedule: 'daily at 22:00',
  time_zone: 'UTC',
  anchor: '2027-01-01T00:00:00.000Z',
};
const rules: StartRules & { catch_up: 'latest' | 'none' } = { time_zone: 'UTC', start_window: null, blackouts: [], catch_up: 'latest' };
const run: ExpectedRun = { at: '2027-01-05T22:00:00.000Z', wall_time: '2027-01-05T22:00', version: 1, enabled: true, time_zone: 'UTC' };
const next = { at: '2027-01-06T22:00:00.000Z', wall_time: '2027-01-06T22:00' };
const at = (now: string, more: { newer?: ExpectedRun } = {}) => ({ now, newer: more.newer ?? null, next });

describe('the expected runs of a policy', () => {
  const edited: readonly PolicyPeriod[] = [
    period,
    { ...period, from: '2027-01-03T12:00:00.000Z', version: 2, schedule: 'daily at 10:00' },
    { ...period, from: '2027-01-05T12:00:00.000Z', version: 3, schedule: 'daily at 10:00', enabled: false },
  ];

  it('follow the version that was in force at their time', () => {
    const runs = expectedRuns(edited, '2027-01-01T00:00:00.000Z', '2027-01-06T12:00:00.000Z');
    expect(runs.map(({ wall_time, version, enabled }) => [wall_time, version, enabled])).toEqual([
      ['2027-01-01T22:00', 1, true],
      ['2027-01-02T22:00', 1, true],
      ['2027-01-04T10:00', 2, true],
      ['2027-01-05T10:00', 2, true],
      ['2027-01-06T10:00', 3, false],
    ]);
    expect(expectedRuns(edited, '2027-01-04T10:00:00.000Z', '2027-01-05T10:00:00.000Z').map(({ wall_time }) => wall_time)).toEqual(['2027-01-05T10:00']);
  });

  it('are none after a clock was set back', () => {
    expect(expectedRuns([period], '2027-01-05T22:00:00.000Z', '2027-01-04T23:00:00.000Z')).toEqual([]);
  });

  it('have a next one unless the policy is disabled', () => {
    expect(nextRun([period], '2027-01-02T23:00:00.000Z')?.wall_time).toBe('2027-01-03T22:00');
    expect(nextRun(edited, '2027-01-02T23:00:00.000Z')).toBeNull();
    expect(nextRun([], '2027-01-02T23:00:00.000Z')).toBeNull();
  });
});

describe('an expected run', () => {
  it('starts on time, up to a minute late', () => {
    expect(planEnding(run, at(run.at), rules)).toEqual({ kind: 'start' });
    expect(planEnding(run, at('2027-01-05T22:01:00.000Z'), rules)).toEqual({ kind: 'start' });
  });

  it('is caught up within 12 hours if the next is not close', () => {
    expect(planEnding(run, at('2027-01-05T22:01:00.001Z'), rules)).toEqual({ kind: 'catch_up' });
    expect(planEnding(run, at('2027-01-06T10:00:00.000Z'), rules)).toEqual({ kind: 'catch_up' });
    expect(planEnding(run, at('2027-01-06T10:00:00.001Z'), rules)).toMatchObject({ kind: 'missed', reason: 'hub_down' });
    const close = { now: '2027-01-06T05:00:00.000Z', newer: null, next: { at: '2027-01-06T05:29:00.000Z', wall_time: '' } };
    expect(planEnding(run, close, rules)).toMatchObject({ kind: 'missed', reason: 'hub_down' });
    expect(planEnding(run, at('2027-01-06T05:00:00.000Z'), { ...rules, catch_up: 'none' })).toMatchObject({ kind: 'missed', reason: 'hub_down' });
  });

  it('is missed when a newer one is due already', () => {
    const newer = { ...run, ...next };
    expect(planEnding(run, at('2027-01-06T22:00:00.000Z', { newer }), rules)).toMatchObject({ kind: 'missed', reason: 'hub_down' });
  });

  it('of a disabled policy is skipped, also when it is late', () => {
    expect(planEnding({ ...run, enabled: false }, at('2027-01-09T22:00:00.000Z'), rules)).toMatchObject({ kind: 'skipped', reason: 'paused' });
  });

  it('outside the start window is skipped', () => {
    const day = { ...rules, start_window: { from: '08:00', until: '17:00', days: [] } };
    expect(planEnding(run, at(run.at), day)).toMatchObject({ kind: 'skipped', reason: 'window_closed' });
  });

  it('is caught up only while backups may start', () => {
    const night = { ...rules, start_window: { from: '21:00', until: '23:00', days: [] } };
    expect(planEnding(run, at('2027-01-05T22:30:00.000Z'), night)).toEqual({ kind: 'catch_up' });
    expect(planEnding(run, at('2027-01-06T03:00:00.000Z'), night)).toMatchObject({ kind: 'missed', reason: 'hub_down' });
    const blackout = { from: '2027-01-06T02:00:00.000Z', until: '2027-01-06T04:00:00.000Z', effect: 'defer' } as const;
    expect(planEnding(run, at('2027-01-06T03:00:00.000Z'), { ...rules, blackouts: [blackout] })).toEqual({ kind: 'wait', until: blackout.until });
  });

  it('waits for the end of a blackout that defers it, and is skipped if the next run comes first', () => {
    const blackout = { from: '2027-01-05T21:00:00.000Z', until: '2027-01-05T23:00:00.000Z', effect: 'defer' } as const;
    const deferring = { ...rules, blackouts: [blackout] };
    expect(planEnding(run, at(run.at), deferring)).toEqual({ kind: 'wait', until: blackout.until });
    expect(planEnding(run, at(blackout.until), deferring)).toEqual({ kind: 'start' });
    const newer = { ...run, at: '2027-01-05T22:30:00.000Z' };
    expect(planEnding(run, at(newer.at, { newer }), deferring)).toMatchObject({ kind: 'skipped', reason: 'blackout' });
    expect(planEnding(run, at(run.at), { ...rules, blackouts: [{ ...blackout, effect: 'skip' }] })).toMatchObject({ kind: 'skipped', reason: 'blackout' });
  });
});

/** A hub with a clock: it ends what is due, may be killed before any of its records, and knows afterwards only what it has recorded. */
class SimulatedHub {
  readonly endings = new Map<string, string>();
  private newest = period.from;

  constructor(
    private readonly periods: readonly PolicyPeriod[],
    private readonly simulatedRules: typeof rules,
  ) {}

  /** @param records after how many records it is killed */
  wake(now: string, records: number): void {
    const due = expectedRuns(this.periods, this.newest, now);
    for (const [index, one] of due.entries()) {
      const ending = planEnding(one, { now, newer: due[index + 1] ?? null, next: nextRun(this.periods, now) }, this.simulatedRules);
      if (ending.kind === 'wait') return;
      if (records-- === 0) return;
      const name = occurrenceName('p', one, one.time_zone);
      if (this.endings.has(name)) throw new Error(`${name} would end twice`);
      this.endings.set(name, ending.kind);
      this.newest = one.at;
    }
  }
}

describe('over three simulated years, with kills, long stops and a clock that is set back and forward', () => {
  it('every expected run ends exactly once', () => {
    const minutes = 3 * 365 * 24 * 60;
    const begin = Date.parse(period.from);
    const iso = (minute: number): string => new Date(begin + minute * 60_000).toISOString();
    const step = fc.record({
      /** Minutes from the last wake, mostly in time for the next run; negative: the clock was set back. */
      minutes: fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 1, max: 1440 }) }, fc.constantFrom(-1440, -60, 1440, 7 * 1440, 60 * 1440)),
      records: fc.oneof({ weight: 3, arbitrary: fc.constant(Infinity) }, fc.integer({ min: 0, max: 3 })),
    });
    const blackout = { from: iso(200_000), until: iso(205_000), effect: 'defer' } as const;
    fc.assert(
      fc.property(
        fc.constantFrom('Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'),
        fc.constantFrom('30 2 * * *', 'every 5h', 'weekly on mon,thu at 01:30', '15 1-3 * * *'),
        fc.constantFrom('none' as const, 'latest' as const),
        fc.array(step, { minLength: 200, maxLength: 900 }),
        (time_zone, schedule, catch_up, steps) => {
          const periods = [
            { ...period, schedule, time_zone },
            { ...period, schedule, time_zone, version: 2, enabled: false, from: iso(500_000) },
            { ...period, schedule, time_zone, version: 3, from: iso(560_000) },
          ];
          const hub = new SimulatedHub(periods, { ...rules, time_zone, catch_up, blackouts: [blackout] });
          let now = 0;
          for (const { minutes: passed, records } of steps) {
            now = Math.max(0, Math.min(minutes, now + passed));
            hub.wake(iso(now), records);
          }
          hub.wake(iso(minutes), Infinity);
          const expected = expectedRuns(periods, period.from, iso(minutes)).map((one) => occurrenceName('p', one, time_zone));
          expect([...hub.endings.keys()]).toEqual(expected);
        },
      ),
      { numRuns: 6 },
    );
  }, 60_000);
});

describe('a run that is due when its policy is deleted', () => {
  it('does not begin, and keeps the reason that it had before', () => {
    const paused = { kind: 'skipped', reason: 'paused', detail: 'd' } as const;
    expect(endingOfDeleted(paused)).toEqual(paused);
    for (const ending of [{ kind: 'start' }, { kind: 'catch_up' }, { kind: 'wait', until: '2027-01-05T22:00:00.000Z' }] as const) {
      expect(endingOfDeleted(ending)).toMatchObject({ kind: 'skipped', reason: 'policy_deleted' });
    }
  });
});
