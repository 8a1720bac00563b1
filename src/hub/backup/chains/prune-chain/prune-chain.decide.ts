import type { ChainEvent } from '../model/chain.events.js';
import type { ChainState } from '../model/chain.state.js';

export type PruneChainData = { readonly remove: readonly string[]; readonly only_expired: boolean; readonly requested_at: string };

/** Restore points that are not in the chain have gone already; those that are to be removed already are not recorded again, unless they now go unconditionally. */
export function decidePruneChain({ remove, only_expired, requested_at }: PruneChainData, state: ChainState): readonly ChainEvent[] {
  if (state.status === 'none') return [];
  const known = only_expired ? state.pruning : state.pruning.filter((point) => !state.pruning_expired.includes(point));
  const added = state.points.filter((point) => remove.includes(point) && !known.includes(point));
  return added.length === 0 ? [] : [{ type: 'PruningRequested', data: { remove: added, ...(only_expired ? { only_expired } : {}), requested_at } }];
}
