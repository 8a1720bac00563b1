import { describe, expect, it } from '@jest/globals';
import { POLICY_FACTS, POLICY_SETTINGS } from '../../../../../test/support/policy-histories.js';
import { soundSettings } from './policy-rules.decide.js';
import type { PolicySettings } from './policy.events.js';

const settings: PolicySettings = { ...POLICY_SETTINGS, time_zone: 'europe/berlin', include: [{ by: 'name', value: 'web-*' }] };
const facts = POLICY_FACTS;
const NO_RULE = { keep_last: null, keep_within: null, keep_daily: null, keep_weekly: null, keep_monthly: null, keep_yearly: null, applies_to: 'all' as const };
const refusal = (code: string, field: string, rule: string) => expect.objectContaining({ code, facts: expect.objectContaining({ field, rule }) });

describe('the settings of a policy', () => {
  it('are recorded with the known name of the time zone', () => {
    expect(soundSettings(settings, facts)).toEqual({ ...settings, time_zone: 'Europe/Berlin' });
  });

  it.each([
    [{ schedule: '0 0 31 2 *' }, 'schedule_invalid', 'schedule', 'never_occurs'],
    [{ time_zone: 'Mars' }, 'time_zone_unknown', 'time_zone', 'known_zone'],
    [{ blackouts: [{ from: '2027-01-02', until: '2027-01-01', effect: 'skip' as const }] }, 'blackout_invalid', 'blackouts', 'until_after_from'],
    [{ retention: NO_RULE }, 'retention_empty', 'retention', 'at_least_one_rule'],
    [{ include: [{ by: 'name' as const, value: 'db-*' }] }, 'no_vm_matched', 'include', 'matches_a_vm'],
  ])('with %j are refused with field and rule', (change, code, field, rule) => {
    expect(() => soundSettings({ ...settings, ...change }, facts)).toThrow(refusal(code, field, rule));
  });

  it('are refused for a repository that does not exist, and a name that another policy has', () => {
    expect(() => soundSettings(settings, { ...facts, repository_exists: false })).toThrow(expect.objectContaining({ code: 'repository_not_found' }));
    const other = { ...settings, repository_id: 'r2' };
    expect(() => soundSettings(settings, { ...facts, others: [other] })).toThrow(refusal('policy_name_taken', 'name', 'unique'));
  });

  it('are refused with the name of the policy that already backs up a VM of theirs into the repository', () => {
    const others = [{ ...settings, name: 'hourly' }];
    expect(() => soundSettings(settings, { ...facts, others })).toThrow(
      expect.objectContaining({ code: 'vm_claimed', message: expect.stringContaining('Policy "hourly" already backs up VM "web-1"') }),
    );
  });
});
