import type { ChainEvent } from '../model/chain.events.js';
import type { ChainState } from '../model/chain.state.js';

export type PruneChainData = { readonly remove: readonly string[]; readonly requested_at: string };

/** Restore points that are not in the chain have gone already; those that are to be removed already are not recorded again. */
export function decidePruneChain({ remove, requested_at }: PruneChainData, state: ChainState): readonly ChainEvent[] {
  if (state.status === 'none') return [];
  const added = state.points.filter((point) => remove.includes(point) && !state.pruning.includes(point));
  return added.length === 0 ? [] : [{ type: 'PruningRequested', data: { remove: added, requested_at } }];
}
