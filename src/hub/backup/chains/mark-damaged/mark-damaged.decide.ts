import type { ChainEvent, RestorePointDamaged } from '../model/chain.events.js';
import type { ChainState } from '../model/chain.state.js';

/**
 * Marks a damaged restore point and every later one in the chain; the later ones name it as the cause. A restore point is marked once. A restore point that
 * is not in the chain is ignored.
 */
export function decideMarkDamaged(command: RestorePointDamaged['data'], state: ChainState): readonly ChainEvent[] {
  if (state.status === 'none') return [];
  const at = state.points.indexOf(command.backup_id);
  if (at === -1) return [];
  return state.points
    .slice(at)
    .filter((backupId) => !state.damaged.includes(backupId))
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
