import type { ChainEvent, RestorePointDamaged } from '../model/chain.events.js';
import { type ChainState, dependentsOf } from '../model/chain.state.js';

/**
 * Marks a damaged restore point and every one that depends on it; those name it as the cause. A restore point is marked once for its own files, and is not
 * marked for another one while it is damaged. One that is not in the chain is ignored.
 */
export function decideMarkDamaged(command: RestorePointDamaged['data'], state: ChainState): readonly ChainEvent[] {
  if (state.status === 'none') return [];
  if (!state.points.includes(command.backup_id)) return [];
  // Its files may be the new ones already.
  if (state.rewriting?.backup_id === command.backup_id) return [];
  return [command.backup_id, ...dependentsOf(command.backup_id, state)]
    .filter((backupId) => {
      const known = state.damaged[backupId];
      return known === undefined || (backupId === command.backup_id && known.caused_by_backup_id !== null);
    })
    .map((backup_id) => ({
      type: 'RestorePointDamaged',
      data:
        backup_id === command.backup_id
          ? { ...command, caused_by_backup_id: null }
          : {
              ...command,
              backup_id,
              detail: `It depends on restore point ${command.backup_id}, which is damaged: ${command.detail}`,
              caused_by_backup_id: command.backup_id,
            },
    }));
}
