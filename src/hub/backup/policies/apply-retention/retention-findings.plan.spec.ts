import { describe, expect, it } from '@jest/globals';
import type { Tier } from '../../backups/model/backup.events.js';
import type { RetentionPoint, RetentionVerdict, RetentionVersion } from '../model/retention.plan.js';
import { findingsOf, type PolicyRules } from './retention-findings.plan.js';

const versions: readonly RetentionVersion[] = [
  { version: 1, time_zone: 'UTC', retention: null },
  {
    version: 2,
    time_zone: 'UTC',
    retention: { keep_last: 1, keep_within: null, keep_daily: null, keep_weekly: null, keep_monthly: null, keep_yearly: null, applies_to: 'all' },
  },
];
const rules: PolicyRules = { policy_id: 'p1', versions, zone: 'UTC', tiers: new Map() };
const point = (tiers: readonly Tier[], expiry: object | null): RetentionPoint & { expiry: object | null } => ({
  backup_id: 'b1',
  at: 0,
  good: true,
  tiers,
  policy_version: 1,
  locked_until: null,
  protections: [],
  expiry,
});
const expire: RetentionVerdict = { backup_id: 'b1', decision: 'expire', reasons: [{ rule: 'keep_last', outcome: 'exceeded', period: null }] };
const keep: RetentionVerdict = { backup_id: 'b1', decision: 'keep', reasons: [{ rule: 'keep_last', outcome: 'keeps', period: null }] };

describe('what the retention finds', () => {
  it('is an expiry of what has not expired, by the version whose rules decided', () => {
    expect(findingsOf([point([], null)], [expire], rules)).toEqual([['b1', { kind: 'expire', policy_id: 'p1', policy_version: 2, reasons: expire.reasons }]]);
    expect(findingsOf([point([], {})], [expire], rules)).toEqual([]);
  });

  it('is an expiry to take back if the restore point is kept again', () => {
    expect(findingsOf([point([], {})], [keep], rules)).toEqual([['b1', { kind: 'withdraw_expiry', kept_by: ['keep_last'] }]]);
    expect(findingsOf([point([], null)], [keep], rules)).toEqual([]);
  });

  it('is a tier that is not recorded, unless the policy was deleted', () => {
    const tiers = new Map<string, readonly Tier[]>([['b1', ['daily', 'weekly']]]);
    expect(findingsOf([point(['daily'], null)], [keep], { ...rules, tiers })).toEqual([
      ['b1', { kind: 'assign_tiers', policy_id: 'p1', time_zone: 'UTC', tiers: ['weekly'] }],
    ]);
    expect(findingsOf([point(['daily', 'weekly'], null)], [keep], { ...rules, tiers })).toEqual([]);
    expect(findingsOf([point([], null)], [keep], { ...rules, zone: null, tiers })).toEqual([]);
  });
});
