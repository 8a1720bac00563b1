import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { PolicyPeriod } from './expected-runs.plan.js';
import { anchorAfterEdit, type PolicyEvent, type PolicySettings } from './policy.events.js';
import { retentionVersion, type RetentionVersion } from './retention.plan.js';

export type PolicyState =
  | { readonly status: 'none' }
  | {
      readonly status: 'active';
      readonly policy_id: string;
      readonly version: number;
      readonly settings: PolicySettings;
      /** One for each version, oldest first. */
      readonly periods: readonly PolicyPeriod[];
      /** One for each version, oldest first. */
      readonly retentions: readonly RetentionVersion[];
    }
  | { readonly status: 'deleted' };

export type ActivePolicy = Extract<PolicyState, { status: 'active' }>;

export const initialPolicyState: PolicyState = { status: 'none' };

export function evolvePolicy(state: PolicyState, event: PolicyEvent): PolicyState {
  switch (event.type) {
    case 'PolicyCreated': {
      const { policy_id, version, settings, created_at } = event.data;
      const periods = [periodOf(version, settings, created_at, created_at)];
      return { status: 'active', policy_id, version, settings, periods, retentions: [retentionVersion(version, settings)] };
    }
    case 'PolicyEdited': {
      if (state.status !== 'active') throw new Error(`policy stream has ${event.type} where there is no policy`);
      const { version, settings, edited_at } = event.data;
      const last = state.periods.at(-1);
      const anchor = last === undefined ? edited_at : anchorAfterEdit(last, settings, edited_at);
      const periods = [...state.periods, periodOf(version, settings, edited_at, anchor)];
      return { ...state, version, settings, periods, retentions: [...state.retentions, retentionVersion(version, settings)] };
    }
    case 'PolicyDeleted':
      return { status: 'deleted' };
    default:
      return unknownVariant('policy stream', event);
  }
}

function periodOf(version: number, { enabled, schedule, time_zone }: PolicySettings, from: string, anchor: string): PolicyPeriod {
  return { from, version, enabled, schedule, time_zone, anchor };
}

export const policyDecider = decidersOf<PolicyState, PolicyEvent>(initialPolicyState, evolvePolicy);

/** For streams that are only read. */
export const policyHistory = policyDecider(() => []);
