import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { ChainEvent, RestorePointDamaged, RewrittenPoint } from './chain.events.js';

export type ChainState =
  | { readonly status: 'none' }
  | {
      readonly status: 'open';
      readonly vm_id: string;
      readonly repository_id: string;
      /** Oldest first: the full, then the incrementals. */
      readonly points: readonly string[];
      /** What each restore point is based on; null: a full. */
      readonly parents: Readonly<Record<string, string | null>>;
      /** Until when restore points are locked, ISO 8601 in UTC; the others are not locked. */
      readonly locks: Readonly<Record<string, string>>;
      /** The known damage of each damaged restore point. Its own is known rather than that of one that it depends on. */
      readonly damaged: Readonly<Record<string, RestorePointDamaged['data'] & { readonly caused_by_backup_id: string | null }>>;
      /** Restore points that are to be removed. */
      readonly pruning: readonly string[];
      /** Those of them that go only as long as they are expired. */
      readonly pruning_expired: readonly string[];
      /** A restore point whose files are being replaced. */
      readonly rewriting: RewrittenPoint | null;
    };

export const initialChainState: ChainState = { status: 'none' };

export function evolveChain(state: ChainState, event: ChainEvent): ChainState {
  if (event.type === 'ChainStarted') {
    const { vm_id, repository_id, backup_id } = event.data;
    return {
      status: 'open',
      vm_id,
      repository_id,
      points: [backup_id],
      parents: { [backup_id]: null },
      locks: {},
      damaged: {},
      pruning: [],
      pruning_expired: [],
      rewriting: null,
    };
  }
  if (state.status === 'none') throw new Error(`chain stream begins with ${event.type} instead of ChainStarted`);
  switch (event.type) {
    case 'ChainExtended':
      return {
        ...state,
        points: [...state.points, event.data.backup_id],
        parents: { ...state.parents, [event.data.backup_id]: event.data.parent_backup_id },
      };
    case 'RestorePointRemoved': {
      const { backup_id } = event.data;
      const { [backup_id]: _, ...parents } = state.parents;
      const others = (ids: readonly string[]): readonly string[] => ids.filter((id) => id !== backup_id);
      const { [backup_id]: __, ...locks } = state.locks;
      return { ...state, points: others(state.points), parents, locks, pruning: others(state.pruning), pruning_expired: others(state.pruning_expired) };
    }
    case 'RestorePointLocked': {
      const { backup_id, locked_until, extended } = event.data;
      return { ...state, locks: { ...state.locks, ...Object.fromEntries([backup_id, ...extended].map((id) => [id, locked_until])) } };
    }
    case 'RestorePointDamaged':
      return {
        ...state,
        damaged: { ...state.damaged, [event.data.backup_id]: { ...event.data, caused_by_backup_id: event.data.caused_by_backup_id ?? null } },
      };
    case 'RestorePointHealed': {
      const { [event.data.backup_id]: _, ...damaged } = state.damaged;
      return { ...state, damaged };
    }
    case 'PruningRequested': {
      const { remove, only_expired } = event.data;
      const before = state.pruning_expired.filter((point) => !remove.includes(point));
      return { ...state, pruning: [...new Set([...state.pruning, ...remove])], pruning_expired: only_expired === true ? [...before, ...remove] : before };
    }
    case 'RestorePointRewriteStarted': {
      const { started_at: _, ...rewriting } = event.data;
      return { ...state, rewriting };
    }
    case 'RestorePointRewritten':
      return { ...state, rewriting: null, parents: { ...state.parents, [event.data.backup_id]: event.data.parent_backup_id } };
    case 'PruningFailed':
      return { ...state, pruning: [], pruning_expired: [] };
    default:
      return unknownVariant('chain stream', event);
  }
}

export const chainDecider = decidersOf<ChainState, ChainEvent>(initialChainState, evolveChain);

/** The restore points that depend on this one, directly or not, oldest first. */
export function dependentsOf(backupId: string, { points, parents }: Extract<ChainState, { status: 'open' }>): readonly string[] {
  const found = new Set([backupId]);
  for (const point of points) if (found.has(parents[point] ?? '')) found.add(point);
  found.delete(backupId);
  return [...found];
}
