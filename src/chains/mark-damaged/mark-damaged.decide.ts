import type { ChainEvent, RestorePointDamaged } from '../model/chain.events.js';
import type { ChainState } from '../model/chain.state.js';

/** A restore point is marked once; one that is not of the chain is nobody's to mark. */
export function decideMarkDamaged(command: RestorePointDamaged['data'], state: ChainState): readonly ChainEvent[] {
  if (state.status === 'none' || !state.points.includes(command.backup_id) || state.damaged.includes(command.backup_id)) return [];
  return [{ type: 'RestorePointDamaged', data: command }];
}
