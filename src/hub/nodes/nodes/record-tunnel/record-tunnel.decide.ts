import type { NodeEvent, NodeTunnelChanged } from '../model/node.events.js';
import type { NodeState } from '../model/node.state.js';

export type RecordTunnelData = {
  readonly journal_id: string;
  /** As the node has them, the oldest first; what was told before may be among them. */
  readonly changes: readonly Omit<NodeTunnelChanged['data'], 'journal_id' | 'recorded_at'>[];
  readonly now: string;
};

/** What is known already is told again whenever an answer of ours was lost. Of a node that is not let in nothing is recorded. */
export function decideRecordTunnel({ journal_id, changes, now }: RecordTunnelData, state: NodeState): readonly NodeEvent[] {
  if (state.status !== 'registered') return [];
  const known = state.tunnel?.journal_id === journal_id ? state.tunnel.number : 0;
  return changes
    .filter(({ number }) => number > known)
    .sort((left, right) => left.number - right.number)
    .map((change) => ({ type: 'NodeTunnelChanged', data: { journal_id, ...change, recorded_at: now } }));
}
