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
  /** How many restore points and how many copies would expire that are kept without the edit, and how many of both may. */
  readonly expiring: { readonly points: number; readonly copies: number };
  readonly confirmed: number;
};

export function decideEditPolicy({ policy_id, version, settings, facts, expiring, confirmed }: EditPolicyData, state: PolicyState): readonly PolicyEvent[] {
  if (state.status !== 'active') throw policyNotFound(policy_id);
  if (state.version !== version) {
    throw new DomainError(
      'conflict',
      'policy_changed',
      `Policy "${state.settings.name}" is at version ${state.version}, and this edit is based on version ${version}. Read the policy again and repeat the edit.`,
      { field: 'version', policy_id, version: state.version },
    );
  }
  const sound = soundSettings(settings, facts);
  const count = expiring.points + expiring.copies;
  if (count > confirmed) {
    const changes = changesOf(state.settings, sound, expiring.copies > 0);
    throw new DomainError(
      'conflict',
      'retention_would_expire',
      `With ${changes}, ${whatOf(expiring)} would expire that are kept now. POST /policies/simulate names the restore points. To save this, set confirm_expiring to ${count}.`,
      { field: 'retention', rule: 'confirm_expiring', policy_id, expiring: count, confirmed },
    );
  }
  return [{ type: 'PolicyEdited', data: { version: version + 1, settings: sound, edited_at: facts.at } }];
}

/** `keep_daily 7 instead of 14, keep_monthly none instead of 12, other rules for copies`. */
function changesOf(before: PolicySettings, after: PolicySettings, ofCopies: boolean): string {
  const [old, fresh] = [before, after].map(({ time_zone, retention }) => new Map(Object.entries({ time_zone, ...retention })));
  const names = [...new Set([...(fresh?.keys() ?? []), ...(old?.keys() ?? [])])];
  const changes = names.map((name) => [name, fresh?.get(name) ?? 'none', old?.get(name) ?? 'none'] as const).filter(([, now, then]) => now !== then);
  return [...changes.map(([name, now, then]) => `${name} ${now} instead of ${then}`), ...(ofCopies ? ['other rules for copies'] : [])].join(', ');
}

/** `6 restore points and 3 copies`. */
function whatOf({ points, copies }: EditPolicyData['expiring']): string {
  return [...(points > 0 ? [`${points} restore points`] : []), ...(copies > 0 ? [`${copies} copies`] : [])].join(' and ');
}
