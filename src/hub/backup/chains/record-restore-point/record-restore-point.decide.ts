import type { ChainEvent } from '../model/chain.events.js';
import type { ChainState } from '../model/chain.state.js';
import { lockOf } from '../model/lock.plan.js';

export type RecordRestorePointData = {
  readonly chain_id: string;
  readonly vm_id: string;
  readonly repository_id: string;
  readonly backup_id: string;
  readonly parent_backup_id: string | null;
  /** Whether its files were rewritten: restore points that it no longer depends on may still be in the chain. */
  readonly rewritten: boolean;
  /** ISO 8601, UTC; null: it is not locked. */
  readonly locked_until: string | null;
};

/**
 * A chain has no branches: the parent of an incremental must be the newest restore point. Recording the same restore point again changes nothing. Its lock is
 * recorded with it, so a restore point is never known without its lock.
 */
export function decideRecordRestorePoint(command: RecordRestorePointData, state: ChainState): readonly ChainEvent[] {
  const recorded = recordedPoint(command, state);
  const lock = recorded.length === 0 ? null : lockOf(command, command.locked_until, state);
  return lock === null ? recorded : [...recorded, { type: 'RestorePointLocked', data: lock }];
}

function recordedPoint(command: RecordRestorePointData, state: ChainState): readonly ChainEvent[] {
  const { chain_id, vm_id, repository_id, backup_id, parent_backup_id, rewritten } = command;
  if (state.status === 'none') {
    if (parent_backup_id !== null) throw new Error(`chain ${chain_id} has no full for incremental ${backup_id}`);
    return [{ type: 'ChainStarted', data: { chain_id, vm_id, repository_id, backup_id } }];
  }
  if (state.points.includes(backup_id)) return [];
  if (rewritten && parent_backup_id === null) return [{ type: 'ChainStarted', data: { chain_id, vm_id, repository_id, backup_id } }];
  if (rewritten && parent_backup_id !== null && state.points.includes(parent_backup_id)) {
    return [{ type: 'ChainExtended', data: { backup_id, parent_backup_id } }];
  }
  if (parent_backup_id === null || state.points.at(-1) !== parent_backup_id) {
    throw new Error(`restore point ${backup_id} is not based on the head of chain ${chain_id}`);
  }
  return [{ type: 'ChainExtended', data: { backup_id, parent_backup_id } }];
}
