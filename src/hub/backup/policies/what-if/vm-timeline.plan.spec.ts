import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { planPruning } from '../../../../storage/pruning/prune-chains.plan.js';
import { typeOfNext } from '../../backups/model/backup-facts.reader.js';
import { planOutlined } from '../../chains/model/prunable-chain.reader.js';
import { findingsOf } from '../apply-retention/retention-findings.plan.js';
import { worthwhilePrunings } from '../apply-retention/worthwhile-prunings.plan.js';
import type { Retention } from '../model/policy.events.js';
import { decideRetention, planRemovals, RetentionCalendar, type RetentionVersion, tiersOf } from '../model/retention.plan.js';
import { type NextBackup, type TimelinePoint, type TimelineRules, VmTimeline } from './vm-timeline.plan.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const START = Date.parse('2026-10-20T00:30:00.000Z');
const NO_RULE: Retention = {
  keep_last: null,
  keep_within: null,
  keep_daily: null,
  keep_weekly: null,
  keep_monthly: null,
  keep_yearly: null,
  applies_to: 'all',
};
const KEEP_2: Retention = { ...NO_RULE, keep_last: 2 };

const rulesOf = (retention: Retention | null, more: Partial<TimelineRules> = {}): TimelineRules => ({
  policy_id: 'p1',
  versions: [{ version: 1, time_zone: 'Europe/Berlin', retention }],
  time_zone: 'Europe/Berlin',
  grace_ms: DAY,
  shares_blocks: false,
  calendar: new RetentionCalendar(),
  judged: () => undefined,
  typeOfNext,
  planPruning: planOutlined,
  ...more,
});
const point = (backup_id: string, at: number, parent_backup_id: string | null, more: Partial<TimelinePoint> = {}): TimelinePoint => ({
  backup_id,
  at,
  good: true,
  tiers: [],
  policy_version: 1,
  locked_until: null,
  protections: [],
  made_by_policy: true,
  repository_id: 'r1',
  chain_id: 'c0',
  parent_backup_id,
  bytes: parent_backup_id === null ? 1_000 : 100,
  expiry: null,
  ...more,
});
const backup = (backup_id: string, more: Partial<NextBackup> = {}): NextBackup => ({
  backup_id,
  requested: 'auto',
  repository_id: 'r1',
  policy_version: 1,
  max_chain_length: 3,
  sizes: { full_bytes: 1_000, incremental_bytes: 100 },
  ...more,
});

/** What happened, in order. */
type Log = string[];
const timelineOf = (points: readonly TimelinePoint[], rules: TimelineRules, log: Log): VmTimeline =>
  new VmTimeline(points, rules, (change) => {
    if (change.kind !== 'rewritten') log.push(`${change.kind} ${change.point.backup_id} at ${new Date(change.at).toISOString()}`);
  });
const leftIn = (points: readonly TimelinePoint[]): unknown =>
  points.map(({ backup_id, parent_backup_id, bytes, expiry }) => ({ backup_id, parent_backup_id, bytes, grace_until: expiry?.grace_until ?? null }));

describe('the restore points of a VM in the course of time', () => {
  it('form chains of the greatest length, expire, and are removed after their grace when a whole chain can go', () => {
    const log: Log = [];
    const timeline = timelineOf([], rulesOf(KEEP_2), log);
    for (let day = 0; day < 5; day++) expect(timeline.backUp(backup(`b${day}`), START + day * DAY)).toBe(true);
    timeline.advance(START + 10 * DAY);
    expect(leftIn(timeline.points)).toEqual([
      { backup_id: 'b3', parent_backup_id: null, bytes: 1_000, grace_until: null },
      { backup_id: 'b4', parent_backup_id: 'b3', bytes: 100, grace_until: null },
    ]);
    expect(log.filter((line) => line.startsWith('removed'))).toEqual(['b0', 'b1', 'b2'].map((id) => `removed ${id} at 2026-10-25T00:30:00.000Z`));
  });

  it('keep their bytes while others stand on them, until pruning is worth its writes', () => {
    const timeline = timelineOf([], rulesOf(KEEP_2), []);
    for (let day = 0; day < 3; day++) timeline.backUp(backup(`b${day}`), START + day * DAY);
    timeline.advance(START + 10 * DAY);
    expect(timeline.points).toHaveLength(3);
    const shared = timelineOf([], rulesOf(KEEP_2, { shares_blocks: true }), []);
    for (let day = 0; day < 6; day++) shared.backUp(backup(`b${day}`, { max_chain_length: 30 }), START + day * DAY);
    shared.advance(START + 10 * DAY);
    expect(shared.points.length).toBeLessThan(6);
  });

  it('have no incremental where the policy insists on one and the VM makes fulls only', () => {
    const timeline = timelineOf([point('b0', START, null)], rulesOf(null), []);
    const fulls = { full_bytes: 1_000, incremental_bytes: null };
    expect(timeline.backUp(backup('b1', { requested: 'incremental', sizes: fulls }), START + DAY)).toBe(false);
    expect(timeline.backUp(backup('b2', { sizes: fulls }), START + DAY)).toBe(true);
    expect(timeline.points.at(-1)).toMatchObject({ parent_backup_id: null, bytes: 1_000 });
  });

  it('that are damaged make the next one a full, and those of nobody in particular stay', () => {
    const timeline = timelineOf(
      [point('b0', START, null, { good: false }), point('hand', START, null, { made_by_policy: false, chain_id: 'c1' })],
      rulesOf(KEEP_2),
      [],
    );
    timeline.backUp(backup('b1'), START + DAY);
    timeline.backUp(backup('b2', { requested: 'full' }), START + 2 * DAY);
    timeline.backUp(backup('b3', { requested: 'full' }), START + 3 * DAY);
    timeline.advance(START + 9 * DAY);
    expect(timeline.points.map(({ backup_id }) => backup_id)).toContain('hand');
    expect(timeline.points.map(({ backup_id }) => backup_id)).not.toContain('b0');
  });

  it('count from the instant at which a clock that ran ahead is caught up', () => {
    const log: Log = [];
    const timeline = timelineOf(
      [point('b0', START, null), point('ahead', START + 5 * DAY, null, { chain_id: 'c1' })],
      rulesOf({ ...NO_RULE, keep_last: 1 }),
      log,
    );
    timeline.settle(START + DAY);
    expect(log).toEqual([]);
    timeline.advance(START + 6 * DAY);
    expect(log).toEqual(['expired b0 at 2026-10-25T00:30:00.000Z', 'removed b0 at 2026-10-26T00:30:00.000Z']);
  });

  it('stay without a retention, and what had expired is kept again', () => {
    const log: Log = [];
    const expired = point('b0', START, null, { expiry: { grace_until: START + DAY } });
    const timeline = timelineOf([expired, point('ahead', START + 5 * DAY, null, { chain_id: 'c1' })], rulesOf(null), log);
    timeline.settle(START);
    timeline.advance(START + 9 * DAY);
    expect(timeline.points.map(({ backup_id }) => backup_id)).toEqual(['b0', 'ahead']);
    expect(log).toEqual(['kept_again b0 at 2026-10-20T00:30:00.000Z']);
  });

  it('are the same as when the hub steps through every day and every backup with its own functions', () => {
    fc.assert(
      fc.property(histories, ({ initial, gaps, versions, grace_ms, shares_blocks, max_chain_length, requested }) => {
        const policy_version = versions.at(-1)?.version ?? 1;
        const time_zone = versions.at(-1)?.time_zone ?? 'UTC';
        const rules: TimelineRules = { ...rulesOf(null), versions, time_zone, grace_ms, shares_blocks };
        const [simulated, executed]: [Log, Log] = [[], []];
        const timeline = timelineOf(initial, rules, simulated);
        const hub = new Execution(initial, rules, executed);
        const begin = START + 30 * DAY;
        timeline.settle(begin);
        hub.run(begin, begin);
        let at = begin;
        for (const [index, gap] of gaps.entries()) {
          const before = at;
          at += gap;
          timeline.backUp(backup(`n${index}`, { policy_version, max_chain_length, requested }), at);
          hub.run(before, at);
          hub.backUp(`n${index}`, at, { policy_version, max_chain_length, requested });
        }
        const end = at + 40 * DAY;
        timeline.advance(end);
        hub.run(at, end);
        expect(leftIn(timeline.points)).toEqual(leftIn(hub.points));
        expect(simulated.toSorted()).toEqual(executed.toSorted());
      }),
      { numRuns: 500 },
    );
  });
});

/** The reactor that applies retention, with its loops, on points in memory: it looks after each backup, when a grace period ends, and daily. */
class Execution {
  points: TimelinePoint[];
  private readonly calendar = new RetentionCalendar();

  constructor(
    initial: readonly TimelinePoint[],
    private readonly rules: TimelineRules,
    private readonly log: Log,
  ) {
    this.points = [...initial];
  }

  run(from: number, to: number): void {
    for (let now = from; now <= to;) {
      this.apply(now);
      const ends = this.points.flatMap(({ expiry }) => (expiry !== null && expiry.grace_until > now ? [expiry.grace_until] : []));
      now = Math.min(...ends, now + DAY);
    }
  }

  backUp(
    backup_id: string,
    now: number,
    { requested, max_chain_length, policy_version }: Pick<NextBackup, 'requested' | 'max_chain_length' | 'policy_version'>,
  ): void {
    const head = this.points.at(-1);
    const chain = this.points.filter(({ chain_id }) => chain_id === head?.chain_id);
    const full = head === undefined || requested === 'full' || chain.length >= max_chain_length || chain.some(({ good }) => !good);
    const more = { policy_version, chain_id: full ? backup_id : head.chain_id };
    this.points.push(point(backup_id, now, full ? null : head.backup_id, more));
    this.log.push(`made ${backup_id} at ${new Date(now).toISOString()}`);
    this.apply(now);
  }

  private apply(now: number): void {
    for (;;) {
      const expired = this.record(now);
      if (expired === null) continue;
      const due = new Set(
        this.points.filter(({ backup_id, expiry }) => expiry !== null && expiry.grace_until <= now && expired.has(backup_id)).map(({ backup_id }) => backup_id),
      );
      const { remove, waiting } = planRemovals(this.points.map((one) => ({ ...one, removable: due.has(one.backup_id) })));
      this.drop(remove, now);
      if (remove.length > 0) continue;
      if (waiting.length > 0 && this.prune(waiting, now)) continue;
      return;
    }
  }

  private record(now: number): ReadonlySet<string> | null {
    const { policy_id, versions, time_zone: zone, grace_ms } = this.rules;
    const own = this.points.filter(({ made_by_policy }) => made_by_policy);
    const verdicts = decideRetention(own, versions, now, this.calendar);
    const findings = findingsOf(own, verdicts, { policy_id, versions, zone, tiers: tiersOf(own, zone, now, this.calendar) });
    for (const [backupId, finding] of findings) {
      this.points = this.points.map((one) => {
        if (one.backup_id !== backupId) return one;
        if (finding.kind === 'assign_tiers') return { ...one, tiers: [...one.tiers, ...finding.tiers] };
        this.log.push(`${finding.kind === 'expire' ? 'expired' : 'kept_again'} ${backupId} at ${new Date(now).toISOString()}`);
        return { ...one, expiry: finding.kind === 'expire' ? { grace_until: now + grace_ms } : null };
      });
    }
    if (findings.length > 0) return null;
    return new Set(verdicts.flatMap(({ backup_id, decision }) => (decision === 'expire' ? [backup_id] : [])));
  }

  private drop(ids: readonly string[], now: number): void {
    for (const id of ids) this.log.push(`removed ${id} at ${new Date(now).toISOString()}`);
    this.points = this.points.filter(({ backup_id }) => !ids.includes(backup_id));
  }

  /** @returns whether anything was pruned */
  private prune(waiting: readonly string[], now: number): boolean {
    let pruned = false;
    const chains = new Set(this.points.filter(({ backup_id }) => waiting.includes(backup_id)).map(({ chain_id }) => chain_id));
    for (const chain_id of chains) {
      const worth = worthwhilePrunings([this.plan(chain_id, waiting)]).filter((id) => waiting.includes(id));
      if (worth.length === 0) continue;
      pruned = true;
      for (const step of this.plan(chain_id, worth).steps) {
        if (step.kind === 'drop') this.drop([step.backup_id], now);
        else
          this.points = this.points.map((one) =>
            one.backup_id === step.backup_id ? { ...one, parent_backup_id: step.parent_backup_id, bytes: one.bytes - step.free_bytes } : one,
          );
      }
    }
    return pruned;
  }

  private plan(chain_id: string, remove: readonly string[]) {
    const chain = this.points.filter((one) => one.chain_id === chain_id);
    const prunable = chain.map(({ backup_id, parent_backup_id, good, bytes }) => {
      const files = [{ disk_id: 0, size_bytes: bytes, has_backing: parent_backup_id !== null }];
      return { backup_id, parent_backup_id, expired: remove.includes(backup_id), rewritable: good, files };
    });
    const plan = planPruning(prunable, Number.MAX_SAFE_INTEGER, this.rules.shares_blocks);
    const steps = plan.steps.map((step) => ({ parent_backup_id: null, merged: [], ...step }));
    return { ...plan, steps, chain_id, repository_id: 'r1', needed_bytes: plan.new_bytes };
  }
}

const few = fc.option(fc.integer({ min: 1, max: 4 }), { nil: null });
const retentions = fc.record({
  keep_last: few,
  keep_within: fc.constantFrom(null, '36h', '5d', '2w'),
  keep_daily: few,
  keep_weekly: few,
  keep_monthly: few,
  keep_yearly: few,
  applies_to: fc.constantFrom('all' as const, 'all' as const, 'new' as const),
});
const histories = fc
  .record({
    made: fc.array(
      fc.record({
        gap: fc.integer({ min: HOUR, max: 60 * HOUR }),
        full: fc.boolean(),
        good: fc.integer({ min: 0, max: 9 }).map((dice) => dice > 0),
        pinned: fc.integer({ min: 0, max: 9 }).map((dice) => dice === 0),
        by_policy: fc.integer({ min: 0, max: 9 }).map((dice) => dice > 1),
        version: fc.constantFrom(null, 1, 2),
      }),
      { maxLength: 10 },
    ),
    rules: fc.array(
      fc.record({ time_zone: fc.constantFrom('Europe/Berlin', 'UTC', 'Pacific/Auckland'), retention: fc.option(retentions, { nil: null, freq: 9 }) }),
      {
        minLength: 1,
        maxLength: 3,
      },
    ),
    gaps: fc.array(fc.integer({ min: 1, max: 50 * HOUR }), { maxLength: 25 }),
    grace_ms: fc.constantFrom(0, HOUR, DAY, 4 * DAY),
    shares_blocks: fc.boolean(),
    max_chain_length: fc.integer({ min: 1, max: 12 }),
    requested: fc.constantFrom('auto' as const, 'auto' as const, 'full' as const),
  })
  .map(({ made, rules, ...rest }) => {
    let at = START;
    let chain_id = '';
    const initial = made.map(({ gap, full, good, pinned, by_policy, version }, index) => {
      at += gap;
      const parent = full || index === 0 ? null : `b${index - 1}`;
      if (parent === null) chain_id = `b${index}`;
      const protections = pinned ? (['pinned'] as const) : [];
      return point(`b${index}`, at, parent, { chain_id, good, protections, made_by_policy: by_policy, policy_version: version });
    });
    return { ...rest, initial, versions: rules.map((one, index): RetentionVersion => ({ ...one, version: index + 1 })) };
  });
