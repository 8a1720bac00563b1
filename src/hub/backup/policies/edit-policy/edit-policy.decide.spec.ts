import { describe, expect, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { POLICY_CREATED, POLICY_DELETED, POLICY_FACTS, POLICY_SETTINGS } from '../../../../../test/support/policy-histories.js';
import type { PolicyEvent, PolicySettings } from '../model/policy.events.js';
import { evolvePolicy, initialPolicyState } from '../model/policy.state.js';
import { decideEditPolicy } from './edit-policy.decide.js';

const { given } = specificationOf({ initialState: initialPolicyState, evolve: evolvePolicy, decide: decideEditPolicy });
const weekly: PolicySettings = { ...POLICY_SETTINGS, schedule: 'weekly on sun at 03:00' };
const command = { policy_id: 'p1', version: 1, settings: weekly, facts: POLICY_FACTS, expiring: { points: 0, copies: 0 }, confirmed: 0 };
const edited = (version: number, settings: PolicySettings = weekly, edited_at = POLICY_FACTS.at): PolicyEvent => ({
  type: 'PolicyEdited',
  data: { version, settings, edited_at },
});

describe('editing a policy', () => {
  it('records a new version each time', () => {
    given(POLICY_CREATED).when(command).then(edited(2));
    given(POLICY_CREATED, edited(2))
      .when({ ...command, version: 2 })
      .then(edited(3));
  });

  it('is refused if the edit is based on another version', () => {
    given(POLICY_CREATED, edited(2)).when(command).thenRefused('policy_changed');
  });

  it('is refused for settings that break a rule, and for a policy that does not exist', () => {
    given(POLICY_CREATED)
      .when({ ...command, settings: { ...weekly, time_zone: 'Mars' } })
      .thenRefused('time_zone_unknown');
    given().when(command).thenRefused('policy_not_found');
    given(POLICY_CREATED, POLICY_DELETED).when(command).thenRefused('policy_not_found');
  });

  it('that lets restore points expire is refused with their number and the rules, unless it is confirmed', () => {
    const rules = { keep_last: null, keep_within: null, keep_weekly: null, keep_monthly: null, keep_yearly: null, applies_to: 'all' as const };
    const [many, few] = [14, 7].map((keep_daily): PolicySettings => ({ ...POLICY_SETTINGS, retention: { ...rules, keep_daily } }));
    if (many === undefined || few === undefined) throw new Error('there are two');
    const shrinking = { ...command, version: 2, settings: few, expiring: { points: 6, copies: 0 } };
    const state = [POLICY_CREATED, edited(2, many)].reduce(evolvePolicy, initialPolicyState);
    expect(() => decideEditPolicy(shrinking, state)).toThrow(
      expect.objectContaining({
        code: 'retention_would_expire',
        message: expect.stringContaining('With keep_daily 7 instead of 14, 6 restore points would expire that are kept now.'),
        facts: expect.objectContaining({ field: 'retention', rule: 'confirm_expiring', expiring: 6 }),
      }),
    );
    given(POLICY_CREATED, edited(2, many))
      .when({ ...shrinking, confirmed: 5 })
      .thenRefused('retention_would_expire');
    given(POLICY_CREATED, edited(2, many))
      .when({ ...shrinking, confirmed: 6 })
      .then(edited(3, few));
  });

  it('that lets copies expire is refused likewise', () => {
    const state = [POLICY_CREATED].reduce(evolvePolicy, initialPolicyState);
    expect(() => decideEditPolicy({ ...command, settings: POLICY_SETTINGS, expiring: { points: 0, copies: 2 }, confirmed: 1 }, state)).toThrow(
      expect.objectContaining({ message: expect.stringContaining('With other rules for copies, 2 copies would expire that are kept now.') }),
    );
  });

  it('keeps the anchor of "every N" until the schedule changes', () => {
    const every = (hours: number, enabled = true): PolicySettings => ({ ...POLICY_SETTINGS, schedule: `every ${hours}h`, enabled });
    const events = [POLICY_CREATED, edited(2, every(4), 'b'), edited(3, every(4, false), 'c'), edited(4, every(6), 'd')];
    const state = events.reduce(evolvePolicy, initialPolicyState);
    expect(state).toMatchObject({
      version: 4,
      periods: [{ version: 1 }, { from: 'b', anchor: 'b' }, { from: 'c', anchor: 'b', enabled: false }, { from: 'd', anchor: 'd' }],
    });
  });
});
