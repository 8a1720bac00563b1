import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { POLICY_CREATED, POLICY_DELETED } from '../../../../../test/support/policy-histories.js';
import { evolvePolicy, initialPolicyState } from '../model/policy.state.js';
import { decideDeletePolicy } from './delete-policy.decide.js';

const { given } = specificationOf({ initialState: initialPolicyState, evolve: evolvePolicy, decide: decideDeletePolicy });
const command = { policy_id: 'p1', deleted_at: '2027-01-02T12:00:00.000Z' };

describe('deleting a policy', () => {
  it('is recorded once', () => {
    given(POLICY_CREATED).when(command).then(POLICY_DELETED);
  });

  it('is refused if the policy does not exist or has been deleted', () => {
    given().when(command).thenRefused('policy_not_found');
    given(POLICY_CREATED, POLICY_DELETED).when(command).thenRefused('policy_not_found');
  });
});
