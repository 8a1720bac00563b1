import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { POLICY_CREATED, POLICY_DELETED, POLICY_FACTS, POLICY_SETTINGS } from '../../../../../test/support/policy-histories.js';
import { evolvePolicy, initialPolicyState } from '../model/policy.state.js';
import { decideCreatePolicy } from './create-policy.decide.js';

const { given } = specificationOf({ initialState: initialPolicyState, evolve: evolvePolicy, decide: decideCreatePolicy });
const command = { policy_id: 'p1', settings: POLICY_SETTINGS, facts: POLICY_FACTS };

describe('creating a policy', () => {
  it('records its first version', () => {
    given()
      .when(command)
      .then({ type: 'PolicyCreated', data: { policy_id: 'p1', version: 1, settings: POLICY_SETTINGS, created_at: POLICY_FACTS.at } });
  });

  it('refuses settings that break a rule', () => {
    given()
      .when({ ...command, settings: { ...POLICY_SETTINGS, schedule: 'sometimes' } })
      .thenRefused('schedule_invalid');
  });

  it('changes nothing the second time, nor after the policy was deleted', () => {
    given(POLICY_CREATED).when(command).then();
    given(POLICY_CREATED, POLICY_DELETED).when(command).then();
  });
});
