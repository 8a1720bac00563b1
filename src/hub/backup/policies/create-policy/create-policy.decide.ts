import { type PolicyFacts, soundSettings } from '../model/policy-rules.decide.js';
import type { PolicyEvent, PolicySettings } from '../model/policy.events.js';
import type { PolicyState } from '../model/policy.state.js';

export type CreatePolicyData = { readonly policy_id: string; readonly settings: PolicySettings; readonly facts: PolicyFacts };

export function decideCreatePolicy({ policy_id, settings, facts }: CreatePolicyData, state: PolicyState): readonly PolicyEvent[] {
  if (state.status !== 'none') return [];
  return [{ type: 'PolicyCreated', data: { policy_id, version: 1, settings: soundSettings(settings, facts), created_at: facts.at } }];
}
