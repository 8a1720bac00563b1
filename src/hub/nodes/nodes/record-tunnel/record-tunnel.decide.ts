import type { NodeEvent, NodeTunnelChanged } from '../model/node.events.js';
import type { NodeState } from '../model/node.state.js';

export type RecordTunnelData = {
  readonly journal_id: string;
  /** As sent by the node, oldest first; may include changes that were already reported. */
  readonly changes: readonly Omit<NodeTunnelChanged['data'], 'journal_id' | 'recorded_at'>[];
  readonly now: string;
};

/** A node repeats its report if our answer was lost. Nothing is recorded for a node without access. */
export function decideRecordTunnel({ journal_id, changes, now }: RecordTunnelData, state: NodeState): readonly NodeEvent[] {
  if (state.status !== 'registered') return [];
  const known = state.tunnel?.journal_id === journal_id ? state.tunnel.number : 0;
  return changes
    .filter(({ number }) => number > known)
    .sort((left, right) => left.number - right.number)
    .map((change) => ({ type: 'NodeTunnelChanged', data: { journal_id, ...change, recorded_at: now } }));
}
