import type { ChainEvent, RestorePointHealed } from '../model/chain.events.js';
import { type ChainState, dependentsOf } from '../model/chain.state.js';

export type MarkHealedAt = Omit<RestorePointHealed['data'], 'caused_by_backup_id'>;

/**
 * A restore point whose own files were damaged is sound again, and so are those that were only damaged because they depend on it. One of them that depends on
 * another damaged one too is marked for that one.
 */
export function decideMarkHealed(command: MarkHealedAt, state: ChainState): readonly ChainEvent[] {
  if (state.status === 'none') return [];
  const { backup_id } = command;
  const known = state.damaged[backup_id];
  if (known === undefined || known.caused_by_backup_id !== null) return [];
  const freed = dependentsOf(backup_id, state).filter((id) => state.damaged[id]?.caused_by_backup_id === backup_id);
  const others = Object.values(state.damaged).filter((damage) => damage.backup_id !== backup_id && damage.caused_by_backup_id === null);
  return [
    { type: 'RestorePointHealed', data: { ...command, caused_by_backup_id: null } },
    ...freed.flatMap((id): readonly ChainEvent[] => {
      const cause = others.find((damage) => dependentsOf(damage.backup_id, state).includes(id));
      const healed = { ...command, backup_id: id, files: [], caused_by_backup_id: backup_id };
      if (cause === undefined) return [{ type: 'RestorePointHealed', data: healed }];
      const detail = `It depends on restore point ${cause.backup_id}, which is damaged: ${cause.detail}`;
      return [
        { type: 'RestorePointHealed', data: healed },
        { type: 'RestorePointDamaged', data: { ...cause, backup_id: id, detail, caused_by_backup_id: cause.backup_id } },
      ];
    }),
  ];
}
