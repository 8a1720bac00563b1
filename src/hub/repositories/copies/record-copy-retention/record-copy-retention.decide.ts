import type { CopyFinding } from '../model/copy.commands.js';
import type { CopyEvent } from '../model/copy.events.js';
import type { CopyState } from '../model/copy.state.js';

export type CopyFindingAt = { readonly finding: CopyFinding; readonly at: string; readonly grace_until: string };

/** Records what is news about a complete copy. */
export function decideRecordCopyRetention({ finding, at, grace_until }: CopyFindingAt, state: CopyState): readonly CopyEvent[] {
  if (state.status !== 'completed') return [];
  switch (finding.kind) {
    case 'expire': {
      const { policy_id, policy_version, reasons } = finding;
      if (state.expiry !== null) return [];
      return [{ type: 'CopyExpired', data: { policy_id, policy_version, reasons, expired_at: at, grace_until } }];
    }
    case 'withdraw_expiry':
      return state.expiry === null ? [] : [{ type: 'CopyExpiryWithdrawn', data: { kept_by: finding.kept_by, withdrawn_at: at } }];
  }
}
