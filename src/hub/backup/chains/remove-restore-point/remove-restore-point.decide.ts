import { DomainError } from '../../../../kernel/domain-error.js';
import type { ChainEvent } from '../model/chain.events.js';
import { type ChainState, dependentsOf } from '../model/chain.state.js';

/** Only a restore point that no other one depends on can be removed. Removing it again changes nothing. */
export function decideRemoveRestorePoint(command: { readonly backup_id: string }, state: ChainState): readonly ChainEvent[] {
  if (state.status === 'none') return [];
  if (!state.points.includes(command.backup_id)) return [];
  const later = dependentsOf(command.backup_id, state);
  if (later.length > 0) {
    throw new DomainError(
      'conflict',
      'restore_point_in_use',
      `Restore point ${command.backup_id} cannot be deleted: ${later.length} later restore point(s) depend on it. Delete those first, newest first, or prune the chain.`,
      { backup_id: command.backup_id, used_by: later },
    );
  }
  return [{ type: 'RestorePointRemoved', data: { backup_id: command.backup_id } }];
}
