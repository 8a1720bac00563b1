import { describe, expect, it } from '@jest/globals';
import { type CopyingPolicy, decideCopyRetention, type StandingCopy } from './copy-retention.plan.js';
import type { CopyRetention } from './policy.events.js';
import { RetentionCalendar } from './retention.plan.js';

const NOTHING: CopyRetention = { keep_last: null, keep_within: null, keep_daily: null, keep_weekly: null, keep_monthly: null, keep_yearly: null };
const NOW = Date.parse('2026-12-01T00:00:00.000Z');

function copyOf(day: number, more: Partial<StandingCopy> = {}): StandingCopy {
  const at = Date.UTC(2026, 10, day, 22);
  return { copy_id: `c${day}`, backup_id: `b${day}`, repository_id: 'r2', at, good: true, tiers: [], locked_until: null, protections: [], ...more };
}

function policy(retention: CopyRetention | null): CopyingPolicy {
  const rule = { repository_id: 'r2', which: 'every', with_parents: true, bandwidth_limit_bps: null, retention } as const;
  return { version: 3, settings: { time_zone: 'UTC', copies: [rule] } };
}

function expired(copies: readonly StandingCopy[], of: CopyingPolicy, repositoryId = 'r2'): readonly string[] {
  const verdicts = decideCopyRetention(copies, of, repositoryId, NOW, new RetentionCalendar());
  return verdicts.filter(({ decision }) => decision === 'expire').map(({ backup_id }) => backup_id);
}

describe('the retention of a rule for copies', () => {
  const days = [1, 2, 3, 4].map((day) => copyOf(day));

  it('keeps what one of its members keeps', () => {
    expect(expired(days, policy({ ...NOTHING, keep_last: 2 }))).toEqual(['b1', 'b2']);
    expect(expired(days, policy({ ...NOTHING, keep_last: 1, keep_monthly: 1 }))).toEqual(['b2', 'b3']);
  });

  it('keeps everything where there is none, the rule is gone or the policy was deleted', () => {
    expect(expired(days, policy(null))).toEqual([]);
    expect(expired(days, policy({ ...NOTHING, keep_last: 1 }), 'r3')).toEqual([]);
    expect(expired(days, null)).toEqual([]);
  });

  it('never lets the newest good copy expire, nor one that is locked, held, pinned or being read', () => {
    const copies = [copyOf(1, { locked_until: NOW + 1 }), copyOf(2, { protections: ['held'] }), copyOf(3), copyOf(4, { good: false })];
    expect(expired(copies, policy({ ...NOTHING, keep_yearly: 1 }))).toEqual(['b4']);
  });
});
