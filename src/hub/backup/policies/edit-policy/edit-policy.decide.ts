import { DomainError } from '../../../../kernel/domain-error.js';
import { type PolicyFacts, soundSettings } from '../model/policy-rules.decide.js';
import { policyNotFound } from '../model/policy.commands.js';
import type { PolicyEvent, PolicySettings } from '../model/policy.events.js';
import type { PolicyState } from '../model/policy.state.js';

export type EditPolicyData = {
  readonly policy_id: string;
  /** The version that the edit is based on. */
  readonly version: number;
  readonly settings: PolicySettings;
  readonly facts: PolicyFacts;
};

export function decideEditPolicy({ policy_id, version, settings, facts }: EditPolicyData, state: PolicyState): readonly PolicyEvent[] {
  if (state.status !== 'active') throw policyNotFound(policy_id);
  if (state.version !== version) {
    throw new DomainError(
      'conflict',
      'policy_changed',
      `Policy "${state.settings.name}" is at version ${state.version}, and this edit is based on version ${version}. Read the policy again and repeat the edit.`,
      { field: 'version', policy_id, version: state.version },
    );
  }
  return [{ type: 'PolicyEdited', data: { version: version + 1, settings: soundSettings(settings, facts), edited_at: facts.at } }];
}
