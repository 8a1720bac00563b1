import type { RestorePointLocked } from './chain.events.js';
import type { ChainState } from './chain.state.js';

/**
 * The lock of a new restore point. All that it depends on is locked for at least as long, because it could not be restored otherwise.
 * @param state of its chain, before the restore point is added
 * @returns null: it is not locked
 */
export function lockOf(
  { backup_id, parent_backup_id }: { readonly backup_id: string; readonly parent_backup_id: string | null },
  locked_until: string | null,
  state: ChainState,
): RestorePointLocked['data'] | null {
  if (locked_until === null) return null;
  const extended: string[] = [];
  let below = parent_backup_id;
  while (below !== null && state.status === 'open') {
    const lock = state.locks[below];
    if (lock === undefined || Date.parse(lock) < Date.parse(locked_until)) extended.push(below);
    below = state.parents[below] ?? null;
  }
  return { backup_id, locked_until, extended };
}
