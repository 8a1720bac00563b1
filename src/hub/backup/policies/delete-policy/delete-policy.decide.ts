import { policyNotFound } from '../model/policy.commands.js';
import type { PolicyEvent } from '../model/policy.events.js';
import type { PolicyState } from '../model/policy.state.js';

export type DeletePolicyData = { readonly policy_id: string; readonly deleted_at: string };

export function decideDeletePolicy({ policy_id, deleted_at }: DeletePolicyData, state: PolicyState): readonly PolicyEvent[] {
  if (state.status !== 'active') throw policyNotFound(policy_id);
  return [{ type: 'PolicyDeleted', data: { deleted_at } }];
}
