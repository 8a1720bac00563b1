import { DomainError } from '../../../../kernel/domain-error.js';
import type { ChainEvent } from '../model/chain.events.js';
import type { ChainState } from '../model/chain.state.js';

/** Only the newest restore point of a chain can be removed. Removing it again changes nothing. */
export function decideRemoveRestorePoint(command: { readonly backup_id: string }, state: ChainState): readonly ChainEvent[] {
  if (state.status === 'none') return [];
  const at = state.points.indexOf(command.backup_id);
  if (at === -1) return [];
  const later = state.points.slice(at + 1);
  if (later.length > 0) {
    throw new DomainError(
      'conflict',
      'restore_point_in_use',
      `Restore point ${command.backup_id} cannot be deleted: ${later.length} later restore point(s) depend on it. Delete those first, newest first.`,
      { backup_id: command.backup_id, used_by: later },
    );
  }
  return [{ type: 'RestorePointRemoved', data: { backup_id: command.backup_id } }];
}
