import { DomainError } from '../../../../kernel/domain-error.js';
import type { CopyEvent } from '../model/copy.events.js';
import type { CopyState } from '../model/copy.state.js';

export type DeleteCopyAt = {
  readonly copy_id: string;
  readonly deleted_at: string;
  /** Copies that depend on it, copies of it that are under way, and mounts, exports, restores and verifications that read it; in words. */
  readonly used_by: readonly string[];
  /** Whether its files are immutable now: the keeper has not unlocked them yet. */
  readonly immutable: boolean;
  readonly only_expired: boolean;
};

/** Files are removed afterwards. A failed or cancelled copy has left none and needs no deletion. */
export function decideDeleteCopy({ copy_id, deleted_at, used_by, immutable, only_expired }: DeleteCopyAt, state: CopyState): readonly CopyEvent[] {
  switch (state.status) {
    case 'none':
      throw new DomainError('not_found', 'copy_not_found', `There is no copy ${copy_id}.`, { copy_id });
    case 'pending':
    case 'running':
      throw new DomainError('conflict', 'copy_not_ended', `Copy ${copy_id} is ${state.status}; cancel it instead.`, { copy_id, copy_status: state.status });
    case 'failed':
    case 'cancelled':
    case 'deleted':
      return [];
    case 'completed':
      if (only_expired && (state.expiry === null || state.expiry.grace_until > deleted_at)) {
        throw new DomainError('conflict', 'copy_not_expired', `Copy ${copy_id} is kept: its grace period has not ended.`, { copy_id });
      }
      if (immutable || (state.locked_until !== null && state.locked_until > deleted_at)) {
        const { locked_until } = state;
        const why =
          locked_until !== null && locked_until > deleted_at ? `it is locked until ${locked_until}` : 'its files are immutable; the keeper unlocks them';
        throw new DomainError('conflict', 'copy_locked', `Copy ${copy_id} cannot be deleted because ${why}.`, { copy_id, locked_until, immutable });
      }
      if (used_by.length > 0) {
        throw new DomainError('conflict', 'copy_in_use', `Copy ${copy_id} cannot be deleted because it is in use by: ${used_by.join(', ')}.`, {
          copy_id,
          used_by,
        });
      }
      return [{ type: 'CopyDeleted', data: { deleted_at } }];
  }
}
