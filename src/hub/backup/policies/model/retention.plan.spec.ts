import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Tier } from '../../backups/model/backup.events.js';
import type { Retention } from './policy.events.js';
import {
  decideRetention,
  expiringOf,
  planRemovals,
  RetentionCalendar,
  type RetentionPoint,
  type RetentionVersion,
  type RetentionVerdict,
  rulesFollowed,
  tiersOf,
} from './retention.plan.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const NO_RULE: Retention = {
  keep_last: null,
  keep_within: null,
  keep_daily: null,
  keep_weekly: null,
  keep_monthly: null,
  keep_yearly: null,
  applies_to: 'all',
};

const point = (at: string, more: Partial<RetentionPoint> = {}): RetentionPoint => ({
  backup_id: at,
  at: Date.parse(at),
  good: true,
  tiers: [],
  policy_version: 1,
  locked_until: null,
  protections: [],
  ...more,
});
const version = (rules: Partial<Retention> | null, more: Partial<RetentionVersion> = {}): RetentionVersion => ({
  version: 1,
  time_zone: 'UTC',
  retention: rules === null ? null : { ...NO_RULE, ...rules },
  ...more,
});
/** One a day at noon, UTC, from a day on. */
const daily = (from: string, days: number): readonly RetentionPoint[] =>
  Array.from({ length: days }, (_, day) => point(new Date(Date.parse(`${from}T12:00:00.000Z`) + day * DAY_MS).toISOString()));
const NOW = Date.parse('2030-01-01T00:00:00.000Z');
const decide = (points: readonly RetentionPoint[], rules: Partial<Retention> | null, time_zone = 'UTC') =>
  decideRetention(points, [version(rules, { time_zone })], NOW);
const kept = (verdicts: readonly RetentionVerdict[]): readonly string[] =>
  verdicts.filter(({ decision }) => decision === 'keep').map(({ backup_id }) => backup_id);
/** The kept ones, as days. */
const keptDays = (verdicts: readonly RetentionVerdict[]): readonly string[] => kept(verdicts).map((id) => id.slice(0, 10));
const reasons = (verdict: RetentionVerdict | undefined): readonly string[] =>
  (verdict?.reasons ?? []).map(({ rule, outcome, period }) => [rule, outcome, period].filter((part) => part !== null).join(' '));

describe('the rules of a retention', () => {
  const month = daily('2026-11-01', 24);

  it.each<[Partial<Retention>, readonly string[]]>([
    [{ keep_last: 3 }, ['2026-11-22', '2026-11-23', '2026-11-24']],
    [{ keep_within: '2d' }, ['2026-11-22', '2026-11-23', '2026-11-24']],
    [{ keep_within: '47h' }, ['2026-11-23', '2026-11-24']],
    [{ keep_within: '1w' }, ['2026-11-17', '2026-11-18', '2026-11-19', '2026-11-20', '2026-11-21', '2026-11-22', '2026-11-23', '2026-11-24']],
    [{ keep_daily: 2 }, ['2026-11-23', '2026-11-24']],
    // Mondays; the last good one is kept besides.
    [{ keep_weekly: 2 }, ['2026-11-16', '2026-11-23', '2026-11-24']],
    [{ keep_monthly: 5 }, ['2026-11-01', '2026-11-24']],
    [{ keep_yearly: 1 }, ['2026-11-01', '2026-11-24']],
    [{ keep_last: 1, keep_weekly: 1, keep_monthly: 1 }, ['2026-11-01', '2026-11-23', '2026-11-24']],
  ])('%j keep %j', (rules, expected) => {
    expect(keptDays(decide(month, rules))).toEqual(expected);
  });

  it('give a kept restore point all that keeps it, and an expired one why no rule does', () => {
    const verdicts = decide(month, { keep_last: 2, keep_within: '12h', keep_daily: 3, keep_weekly: 1, keep_monthly: 1 });
    expect(reasons(verdicts.at(-1))).toEqual(['last_good keeps', 'keep_last keeps', 'keep_within keeps', 'keep_daily keeps 2026-11-24']);
    expect(reasons(verdicts.at(-2))).toEqual(['keep_last keeps', 'keep_daily keeps 2026-11-23', 'keep_weekly keeps 2026-W48']);
    expect(reasons(verdicts[1])).toEqual([
      'keep_last exceeded',
      'keep_within exceeded',
      'keep_daily exceeded 2026-11-02',
      'keep_weekly exceeded 2026-W45',
      'keep_monthly not_first 2026-11',
    ]);
  });

  it('count periods that have a restore point, however long ago they were', () => {
    const sparse = [point('2026-01-01T00:00:00.000Z'), point('2026-06-01T00:00:00.000Z'), point('2026-11-01T00:00:00.000Z')];
    expect(kept(decide(sparse, { keep_daily: 2 }))).toEqual(sparse.slice(1).map(({ backup_id }) => backup_id));
  });

  it('keep for a duration counted from the newest good one, so that nothing expires while no backup is made', () => {
    expect(keptDays(decide(daily('2026-11-01', 3), { keep_within: '1d' }))).toEqual(['2026-11-02', '2026-11-03']);
  });

  it('keep the first of a day, not the last', () => {
    const day = ['2026-11-24T06:00:00.000Z', '2026-11-24T12:00:00.000Z', '2026-11-24T18:00:00.000Z', '2026-11-25T06:00:00.000Z'].map((at) => point(at));
    expect(kept(decide(day, { keep_daily: 2 }))).toEqual(['2026-11-24T06:00:00.000Z', '2026-11-25T06:00:00.000Z']);
  });

  it('do not depend on the order in which restore points are given', () => {
    const forward = decide(month, { keep_daily: 2, keep_weekly: 2 });
    expect(decide([...month].reverse(), { keep_daily: 2, keep_weekly: 2 })).toEqual([...forward].reverse());
  });
});

describe('a period', () => {
  it.each<[string, string, string, string]>([
    // The ISO week of 1 January belongs to the year of its Thursday.
    ['2026-12-31T12:00:00.000Z', 'UTC', 'keep_weekly', '2026-W53'],
    ['2027-01-03T12:00:00.000Z', 'UTC', 'keep_weekly', '2026-W53'],
    ['2027-01-04T12:00:00.000Z', 'UTC', 'keep_weekly', '2027-W01'],
    ['2024-12-30T12:00:00.000Z', 'UTC', 'keep_weekly', '2025-W01'],
    ['2023-01-01T12:00:00.000Z', 'UTC', 'keep_weekly', '2022-W52'],
    ['2028-02-29T12:00:00.000Z', 'UTC', 'keep_daily', '2028-02-29'],
    ['2028-02-29T12:00:00.000Z', 'UTC', 'keep_weekly', '2028-W09'],
    ['2028-02-29T23:30:00.000Z', 'Europe/Berlin', 'keep_monthly', '2028-03'],
    ['2026-12-31T23:30:00.000Z', 'Europe/Berlin', 'keep_yearly', '2027'],
    ['2026-12-31T23:30:00.000Z', 'UTC', 'keep_yearly', '2026'],
    // The second 02:30 of the night in which the clock goes back, and both ends of that day of 25 hours.
    ['2026-10-25T01:30:00.000Z', 'Europe/Berlin', 'keep_daily', '2026-10-25'],
    ['2026-10-24T22:00:00.000Z', 'Europe/Berlin', 'keep_daily', '2026-10-25'],
    ['2026-10-25T22:59:59.999Z', 'Europe/Berlin', 'keep_daily', '2026-10-25'],
    ['2026-10-25T23:00:00.000Z', 'Europe/Berlin', 'keep_daily', '2026-10-26'],
    // Of 23 hours.
    ['2027-03-27T23:00:00.000Z', 'Europe/Berlin', 'keep_daily', '2027-03-28'],
    ['2027-03-28T22:00:00.000Z', 'Europe/Berlin', 'keep_daily', '2027-03-29'],
    ['2026-11-24T18:14:59.000Z', 'Asia/Kathmandu', 'keep_daily', '2026-11-24'],
    ['2026-11-24T18:15:00.000Z', 'Asia/Kathmandu', 'keep_daily', '2026-11-25'],
    // The offset changes within an hour of UTC.
    ['2027-04-03T14:59:59.000Z', 'Australia/Lord_Howe', 'keep_daily', '2027-04-04'],
    ['1969-12-31T23:59:59.000Z', 'UTC', 'keep_weekly', '1970-W01'],
  ])('of %s in %s by %s is %s', (at, zone, rule, period) => {
    const [verdict] = decide([point(at)], { [rule]: 1 }, zone);
    expect(verdict?.reasons).toContainEqual({ rule, outcome: 'keeps', period });
  });

  it('belongs to the one recorded for it, although an earlier one is in it', () => {
    const [early, late] = [point('2026-11-24T06:00:00.000Z'), point('2026-11-24T18:00:00.000Z', { tiers: ['daily'] })];
    const next = point('2026-11-25T06:00:00.000Z');
    expect(kept(decide([early, late, next], { keep_daily: 2 }))).toEqual([late.backup_id, next.backup_id]);
  });

  it('goes to the next good one when the first is damaged', () => {
    const [first, second, third] = [6, 12, 18].map((hour) => point(`2026-11-24T${String(hour).padStart(2, '0')}:00:00.000Z`));
    const next = point('2026-11-25T06:00:00.000Z');
    if (first === undefined || second === undefined || third === undefined) throw new Error('there are three');
    const damaged = { ...first, good: false, tiers: ['daily' as const] };
    expect(kept(decide([damaged, second, third, next], { keep_daily: 2 }))).toEqual([second.backup_id, next.backup_id]);
    expect(tiersOf([damaged, second, third, next], 'UTC', NOW).get(second.backup_id)).toEqual(['daily', 'weekly', 'monthly', 'yearly']);
    expect(tiersOf([damaged, second, third, next], 'UTC', NOW).has(damaged.backup_id)).toBe(false);
  });
});

describe('a damaged restore point', () => {
  it('takes no place', () => {
    const [one, two, three, four] = daily('2026-11-01', 4);
    if (one === undefined || two === undefined || three === undefined || four === undefined) throw new Error('there are four');
    for (const rules of [{ keep_last: 2 }, { keep_daily: 2 }]) {
      expect(kept(decide([one, two, { ...three, good: false }, four], rules))).toEqual([two.backup_id, three.backup_id, four.backup_id]);
      expect(kept(decide([one, { ...two, good: false }, three, four], rules))).toEqual([three.backup_id, four.backup_id]);
    }
  });

  it('expires in a period that has a good one', () => {
    const [broken, good] = [point('2026-11-24T06:00:00.000Z', { good: false }), point('2026-11-24T12:00:00.000Z')];
    expect(reasons(decide([broken, good], { keep_daily: 7 })[0])).toEqual(['keep_daily not_first 2026-11-24']);
  });

  it('never expires while no good one exists', () => {
    const all = daily('2026-11-01', 4).map((one) => ({ ...one, good: false }));
    const verdicts = decide(all, { keep_last: 1 });
    expect(kept(verdicts)).toHaveLength(4);
    expect(reasons(verdicts[0])).toContain('no_good_point keeps');
  });
});

describe('whatever the rules', () => {
  const days = daily('2026-11-01', 4);
  const [first, ...others] = days;
  if (first === undefined) throw new Error('there are four');

  it.each(['pinned', 'held', 'awaited_by_copy', 'in_use'] as const)('what is %s is kept, and keeps its place', (protection) => {
    const verdicts = decide([{ ...first, protections: [protection] }, ...others], { keep_last: 2 });
    expect(reasons(verdicts[0])).toEqual([`${protection} keeps`]);
    expect(keptDays(verdicts)).toEqual(['2026-11-01', '2026-11-03', '2026-11-04']);
  });

  it('what is locked is kept until the lock ends', () => {
    expect(reasons(decide([{ ...first, locked_until: NOW + 1 }, ...others], { keep_last: 1 })[0])).toEqual(['locked keeps']);
    expect(decide([{ ...first, locked_until: NOW }, ...others], { keep_last: 1 })[0]?.decision).toBe('expire');
  });

  it('what is dated in the future is kept, and takes no place', () => {
    const future = [point('2031-01-01T00:00:00.000Z'), point('2031-01-02T00:00:00.000Z')];
    const verdicts = decide([...days, ...future], { keep_last: 1, keep_daily: 2, keep_yearly: 1 });
    expect(keptDays(verdicts)).toEqual(['2026-11-01', '2026-11-03', '2026-11-04', '2031-01-01', '2031-01-02']);
    expect(reasons(verdicts.at(-1))).toEqual(['in_future keeps']);
  });

  it('the last good one is kept, also when newer ones are damaged', () => {
    const broken = others.map((one) => ({ ...one, good: false }));
    expect(reasons(decide([first, ...broken], { keep_last: 1 })[0])).toContain('last_good keeps');
  });

  it('nothing expires without a retention, and of a deleted policy', () => {
    expect(reasons(decide(days, null)[0])).toEqual(['no_retention keeps']);
    expect(decideRetention(days, [], NOW).map(reasons)[0]).toEqual(['no_retention keeps']);
  });
});

describe('restore points of earlier versions', () => {
  const versions = (...all: readonly (Partial<Retention> | null)[]) => all.map((rules, index) => version(rules, { version: index + 1 }));

  it.each<[string, readonly RetentionVersion[], number | null, number | undefined]>([
    ['follow the newest that applies to all', versions({ keep_last: 1 }, { keep_last: 2 }), 1, 2],
    ['follow their own if later ones apply to new ones', versions({ keep_last: 1 }, { keep_last: 2, applies_to: 'new' }), 1, 1],
    ['follow the later one if they were made under it', versions({ keep_last: 1 }, { keep_last: 2, applies_to: 'new' }), 2, 2],
    ['follow a later one that applies to all', versions({ keep_last: 1 }, { keep_last: 2, applies_to: 'new' }, { keep_last: 3 }), 1, 3],
    ['never expire after an edit that removes the retention', versions({ keep_last: 1 }, null), 1, 2],
    ['without a recorded version follow the first', versions({ keep_last: 1 }, { keep_last: 2, applies_to: 'new' }), null, 1],
  ])('%s', (_, all, own, expected) => {
    expect(rulesFollowed(own, all)?.version).toBe(expected);
  });

  it('are counted with the newer ones', () => {
    const [one, two, three, four] = daily('2026-11-01', 4).map((each, index) => ({ ...each, policy_version: index < 3 ? 1 : 2 }));
    if (one === undefined || two === undefined || three === undefined || four === undefined) throw new Error('there are four');
    expect(kept(decideRetention([one, two, three, four], versions({ keep_last: 3 }, { keep_last: 1, applies_to: 'new' }), NOW))).toEqual(
      [two, three, four].map(({ backup_id }) => backup_id),
    );
  });
});

describe('any history', () => {
  const tier = fc.constantFrom<Tier[]>('daily', 'weekly', 'monthly', 'yearly');
  const history = fc
    .uniqueArray(
      fc.record({
        // Hours over four years around NOW, which sometimes fall into the future.
        hour: fc.oneof(fc.integer({ min: 0, max: 4 * 366 * 24 }), fc.integer({ min: 0, max: 200 })),
        good: fc.boolean(),
        tiers: fc.uniqueArray(tier, { maxLength: 2 }),
        pinned: fc.integer({ min: 0, max: 9 }),
        version: fc.constantFrom(null, 1, 2),
      }),
      { selector: ({ hour }) => hour, maxLength: 60 },
    )
    .map((points) =>
      points.map(({ hour, good, tiers, pinned, version: policy_version }) =>
        point(new Date(NOW + DAY_MS * 20 - hour * HOUR_MS).toISOString(), { good, tiers, policy_version, protections: pinned === 0 ? ['pinned'] : [] }),
      ),
    );
  const count = fc.option(fc.integer({ min: 1, max: 12 }), { nil: null });
  const rules = fc.record<Retention>({
    keep_last: count,
    keep_within: fc.constantFrom(null, '5h', '2d', '30d', '60w'),
    keep_daily: count,
    keep_weekly: count,
    keep_monthly: count,
    keep_yearly: count,
    applies_to: fc.constantFrom<('all' | 'new')[]>('all', 'new'),
  });
  const zone = fc.constantFrom('UTC', 'Europe/Berlin', 'Pacific/Kiritimati', 'America/Havana', 'Australia/Lord_Howe');
  const policy = fc
    .tuple(rules, fc.option(rules, { nil: null }), zone)
    .map(([one, two, time_zone]) => [version(one, { time_zone }), version(two, { time_zone, version: 2 })]);
  const calendar = new RetentionCalendar();
  const keptOf = (points: readonly RetentionPoint[], versions: readonly RetentionVersion[]): ReadonlySet<string> =>
    new Set(kept(decideRetention(points, versions, NOW, calendar)));

  it('keeps the last good restore point, and all of them while none is good', () => {
    fc.assert(
      fc.property(history, policy, (points, versions) => {
        const keeps = keptOf(points, versions);
        const good = points.filter((one) => one.good && one.at <= NOW).sort((a, b) => b.at - a.at);
        expect(good[0] === undefined ? keeps.size : keeps.has(good[0].backup_id)).toBe(good[0] === undefined ? points.length : true);
      }),
    );
  });

  it('expires the same without its reasons', () => {
    fc.assert(
      fc.property(history, policy, (points, versions) => {
        const keeps = keptOf(points, versions);
        const expiring = expiringOf(points, versions, NOW, calendar);
        expect(points.filter(({ backup_id }) => !expiring.has(backup_id)).map(({ backup_id }) => backup_id)).toEqual([...keeps]);
      }),
      { numRuns: 1_000 },
    );
  });

  it('is decided alike after the expired ones were removed', () => {
    fc.assert(
      fc.property(history, policy, (points, versions) => {
        const keeps = keptOf(points, versions);
        const left = points.filter(({ backup_id }) => keeps.has(backup_id));
        expect(keptOf(left, versions)).toEqual(keeps);
      }),
      { numRuns: 1_000 },
    );
  });

  it('loses nothing when a rule keeps more', () => {
    const more = fc.constantFrom<(keyof Retention)[]>('keep_last', 'keep_daily', 'keep_weekly', 'keep_monthly', 'keep_yearly', 'keep_within');
    fc.assert(
      fc.property(history, rules, more, fc.integer({ min: 1, max: 5 }), zone, (points, retention, rule, by, time_zone) => {
        const value = retention[rule];
        const raised = rule === 'keep_within' ? '99w' : (typeof value === 'number' ? value : 0) + by;
        const before = keptOf(points, [version(retention, { time_zone })]);
        const after = keptOf(points, [version({ ...retention, [rule]: raised }, { time_zone })]);
        for (const backup_id of before) expect(after).toContain(backup_id);
      }),
      { numRuns: 1_000 },
    );
  });

  it('expires nothing else when time passes', () => {
    fc.assert(
      fc.property(history, policy, fc.integer({ min: 0, max: 100 }), (points, versions, days) => {
        const past = points.filter(({ at }) => at <= NOW);
        const later = new Set(kept(decideRetention(past, versions, NOW + days * DAY_MS, calendar)));
        expect(later).toEqual(keptOf(past, versions));
      }),
    );
  });

  it('has tiers that stay when they are recorded and newer restore points follow', () => {
    fc.assert(
      fc.property(history, zone, (points, time_zone) => {
        const sorted = points.filter(({ at }) => at <= NOW).sort((a, b) => a.at - b.at);
        let recorded: readonly RetentionPoint[] = [];
        for (const one of sorted) {
          const known = [...recorded, { ...one, tiers: [] }];
          const tiers = tiersOf(known, time_zone, NOW, calendar);
          for (const before of recorded) expect(tiers.get(before.backup_id) ?? []).toEqual(before.tiers);
          recorded = known.map((each) => ({ ...each, tiers: tiers.get(each.backup_id) ?? [] }));
        }
      }),
    );
  });
});

describe('the removal of restore points', () => {
  const chain = (...removable: readonly boolean[]) =>
    removable.map((each, index) => ({ backup_id: `b${index}`, parent_backup_id: index === 0 ? null : `b${index - 1}`, removable: each }));

  it.each([
    [[true, true, true], ['b2', 'b1', 'b0'], []],
    [[false, true, true], ['b2', 'b1'], []],
    [[true, false, true], ['b2'], ['b0']],
    [[true, true, false], [], ['b0', 'b1']],
    [[false, false], [], []],
  ])('of a chain in which removable is %j removes %j, and %j wait', (removable, remove, waiting) => {
    expect(planRemovals(chain(...removable))).toEqual({ remove, waiting });
  });

  it('does not mind a parent that is not among them', () => {
    expect(planRemovals([{ backup_id: 'b1', parent_backup_id: 'gone', removable: true }])).toEqual({ remove: ['b1'], waiting: [] });
  });
});

it('decides for 1,000 VMs with 200 restore points each in well under five seconds', () => {
  const calendar = new RetentionCalendar();
  const versions = [
    version({ keep_last: 10, keep_within: '3d', keep_daily: 30, keep_weekly: 8, keep_monthly: 12, keep_yearly: 5 }, { time_zone: 'Europe/Berlin' }),
  ];
  const begin = Date.parse('2029-01-01T00:00:00.000Z');
  const started = process.cpuUsage();
  let expired = 0;
  for (let vm = 0; vm < 1_000; vm++) {
    const points = Array.from({ length: 200 }, (_, index): RetentionPoint => ({
      backup_id: `${vm}-${index}`,
      at: begin + index * 36 * HOUR_MS + vm * 7_000,
      good: index % 50 !== 7,
      tiers: [],
      policy_version: 1,
      locked_until: null,
      protections: [],
    }));
    expired += decideRetention(points, versions, NOW, calendar).filter(({ decision }) => decision === 'expire').length;
  }
  expect(expired).toBeGreaterThan(100_000);
  // Time of the processor, because other tests run meanwhile. It takes about 0.4 s; a step from points to pairs of points would take minutes.
  expect(process.cpuUsage(started).user / 1_000_000).toBeLessThan(5);
}, 60_000);
