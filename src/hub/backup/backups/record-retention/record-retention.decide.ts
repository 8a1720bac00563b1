import type { RetentionFinding } from '../model/backup.commands.js';
import type { BackupEvent } from '../model/backup.events.js';
import type { BackupState } from '../model/backup.state.js';

export type RetentionFoundAt = { readonly finding: RetentionFinding; readonly at: string; readonly grace_until: string };

/** Records what is news about a restore point. One that was pinned, held or deleted meanwhile does not expire. */
export function decideRecordRetention({ finding, at, grace_until }: RetentionFoundAt, state: BackupState): readonly BackupEvent[] {
  if (state.status !== 'completed') return [];
  const { tiers, pin, hold, expiry } = state.run.retained;
  switch (finding.kind) {
    case 'assign_tiers': {
      const { policy_id, time_zone } = finding;
      const added = finding.tiers.filter((tier) => !tiers.includes(tier));
      return added.length === 0 ? [] : [{ type: 'RestorePointTiersAssigned', data: { policy_id, time_zone, tiers: added, assigned_at: at } }];
    }
    case 'expire': {
      const { policy_id, policy_version, reasons } = finding;
      if (expiry !== null || pin !== null || hold !== null) return [];
      return [{ type: 'RestorePointExpired', data: { policy_id, policy_version, reasons, expired_at: at, grace_until } }];
    }
    case 'defer_removal':
      if (expiry === null || expiry.deferred) return [];
      return [{ type: 'RestorePointRemovalDeferred', data: { needed_by: finding.needed_by, deferred_at: at } }];
    case 'withdraw_expiry':
      return expiry === null ? [] : [{ type: 'RestorePointExpiryWithdrawn', data: { kept_by: finding.kept_by, withdrawn_at: at } }];
  }
}
