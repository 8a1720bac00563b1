import type { PolicySettings } from './policy.events.js';
import { decideRetention, type RetentionCalendar, type RetentionPoint, type RetentionVerdict, type RetentionVersion } from './retention.plan.js';

/** A copy, with what is known of the restore point that it was made from. */
export type StandingCopy = Omit<RetentionPoint, 'policy_version'> & { readonly copy_id: string; readonly repository_id: string };

/** A policy as it is now; null: it was deleted. */
export type CopyingPolicy = { readonly version: number; readonly settings: Pick<PolicySettings, 'time_zone' | 'copies'> } | null;

/**
 * Decides for all copies of one VM that a policy had made into one repository, in their order, by the rule that the policy has for it now. Without a rule, or
 * without a retention of the rule, all are kept.
 */
export function decideCopyRetention(
  copies: readonly StandingCopy[],
  policy: CopyingPolicy,
  repositoryId: string,
  now: number,
  calendar: RetentionCalendar,
): readonly RetentionVerdict[] {
  const points = copies.map((copy) => ({ ...copy, policy_version: null }));
  return decideRetention(points, versionsOf(policy, repositoryId), now, calendar);
}

function versionsOf(policy: CopyingPolicy, repositoryId: string): readonly RetentionVersion[] {
  const rule = policy?.settings.copies?.find(({ repository_id }) => repository_id === repositoryId);
  if (policy === null || rule === undefined) return [];
  const { version, settings } = policy;
  const retention = rule.retention ?? null;
  return [{ version, time_zone: settings.time_zone, retention: retention === null ? null : { ...retention, applies_to: 'all' } }];
}
