import type { RetentionFinding } from '../../backups/model/backup.commands.js';
import type { Tier } from '../../backups/model/backup.events.js';
import { type RetentionPoint, type RetentionVerdict, type RetentionVersion, rulesFollowed } from '../model/retention.plan.js';

export type PolicyRules = {
  readonly policy_id: string;
  readonly versions: readonly RetentionVersion[];
  /** null: the policy was deleted. */
  readonly zone: string | null;
  /** By restore point, the tiers that it has. */
  readonly tiers: ReadonlyMap<string, readonly Tier[]>;
};

/** What verdicts and tiers change in what is recorded. A restore point that has expired keeps its expiry while it would expire again. */
export function findingsOf(
  points: readonly (RetentionPoint & { readonly expiry: object | null })[],
  verdicts: readonly RetentionVerdict[],
  { policy_id, versions, zone, tiers }: PolicyRules,
): readonly (readonly [backupId: string, finding: RetentionFinding])[] {
  return points.flatMap((point, index) => {
    const { backup_id, expiry, policy_version } = point;
    const verdict = verdicts[index];
    const added = (tiers.get(backup_id) ?? []).filter((tier) => !point.tiers.includes(tier));
    const findings: RetentionFinding[] = zone === null || added.length === 0 ? [] : [{ kind: 'assign_tiers', policy_id, time_zone: zone, tiers: added }];
    if (verdict?.decision === 'expire' && expiry === null) {
      findings.push({ kind: 'expire', policy_id, policy_version: rulesFollowed(policy_version, versions)?.version ?? 0, reasons: verdict.reasons });
    }
    if (verdict?.decision === 'keep' && expiry !== null) {
      findings.push({ kind: 'withdraw_expiry', kept_by: verdict.reasons.map(({ rule }) => rule) });
    }
    return findings.map((finding) => [backup_id, finding] as const);
  });
}
