import { DomainError } from '../../../../kernel/domain-error.js';
import type { PolicyEvent } from '../model/policy.events.js';
import type { PolicyState } from '../model/policy.state.js';

export type DeletePolicyData = { readonly policy_id: string; readonly deleted_at: string };

export function decideDeletePolicy({ policy_id, deleted_at }: DeletePolicyData, state: PolicyState): readonly PolicyEvent[] {
  if (state.status !== 'active') throw new DomainError('not_found', 'policy_not_found', `There is no policy ${policy_id}.`, { policy_id });
  return [{ type: 'PolicyDeleted', data: { deleted_at } }];
}
