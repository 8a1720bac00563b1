import { describe, expect, it } from '@jest/globals';
import { typeOfNext } from '../../backups/model/backup-facts.reader.js';
import { planOutlined } from '../../chains/model/prunable-chain.reader.js';
import { RetentionCalendar } from '../model/retention.plan.js';
import { hindsightOf, type PastPoint } from './hindsight.plan.js';
import type { TimelineRules } from './vm-timeline.plan.js';

const DAY = 86_400_000;
const START = Date.parse('2026-10-01T22:00:00.000Z');
const KEEP_2 = { keep_last: 2, keep_within: null, keep_daily: null, keep_weekly: null, keep_monthly: null, keep_yearly: null, applies_to: 'all' as const };
const RULES: TimelineRules = {
  policy_id: 'p1',
  versions: [{ version: 1, time_zone: 'UTC', retention: KEEP_2 }],
  time_zone: 'UTC',
  grace_ms: DAY,
  shares_blocks: false,
  calendar: new RetentionCalendar(),
  judged: () => undefined,
  typeOfNext,
  planPruning: planOutlined,
};
const past = (day: number, more: Partial<PastPoint> = {}): PastPoint => ({
  backup_id: `b${day}`,
  at: START + day * DAY,
  completed_at: START + day * DAY,
  good: true,
  tiers: [],
  policy_version: 1,
  locked_until: null,
  protections: [],
  made_by_policy: true,
  repository_id: 'r1',
  chain_id: `b${day}`,
  parent_backup_id: null,
  bytes: 1_000,
  expiry: null,
  exists: true,
  ...more,
});

describe('what would be left, had the policy been in force', () => {
  it('is what its rules keep, and what has expired within the grace; the rest is gone, with the time', () => {
    const points = [0, 1, 2, 3].map((day) => past(day));
    const found = hindsightOf(points, [], RULES, START - DAY, START + 3 * DAY + 1);
    expect(found.points).toEqual([
      { backup_id: 'b0', exists: true, would_exist: false, kept_by: [], gone_at: START + 3 * DAY },
      { backup_id: 'b1', exists: true, would_exist: true, kept_by: [], gone_at: null },
      { backup_id: 'b2', exists: true, would_exist: true, kept_by: ['keep_last'], gone_at: null },
      { backup_id: 'b3', exists: true, would_exist: true, kept_by: ['last_good', 'keep_last'], gone_at: null },
    ]);
  });

  it('applies to what existed when it began', () => {
    const points = [0, 1, 2].map((day) => past(day));
    const found = hindsightOf(points, [], RULES, START + 10 * DAY, START + 20 * DAY);
    expect(found.points[0]).toMatchObject({ would_exist: false, gone_at: START + 11 * DAY });
  });

  it('leaves out what no policy made, and keeps what is pinned', () => {
    const points = [past(0, { made_by_policy: false }), past(1, { protections: ['pinned'] }), past(2), past(3), past(4)];
    const found = hindsightOf(points, [], RULES, START - DAY, START + 30 * DAY);
    expect(found.points.map(({ backup_id, kept_by }) => [backup_id, kept_by[0] ?? null])).toEqual([
      ['b1', 'pinned'],
      ['b2', null],
      ['b3', 'keep_last'],
      ['b4', 'last_good'],
    ]);
  });

  it('makes those restores impossible that came after the removal of their restore point', () => {
    const points = [0, 1, 2, 3].map((day) => past(day));
    const [before, after, other] = [
      { backup_id: 'b0', at: START + 3 * DAY - 1 },
      { backup_id: 'b0', at: START + 3 * DAY },
      { backup_id: 'b3', at: START + 9 * DAY },
    ];
    const found = hindsightOf(points, [before, after, other], RULES, START - DAY, START + 10 * DAY);
    expect([...found.impossible]).toEqual([[after, START + 3 * DAY]]);
  });
});
