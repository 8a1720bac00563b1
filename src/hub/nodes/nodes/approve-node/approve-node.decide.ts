import { DomainError } from '../../../../kernel/domain-error.js';
import { enrolledNodeUrl, type NodeEvent } from '../model/node.events.js';
import type { NodeState } from '../model/node.state.js';

export type ApproveNodeData = { readonly node_id: string; readonly public_key_fingerprint: string; readonly now: string };

export function decideApproveNode({ node_id, public_key_fingerprint, now }: ApproveNodeData, state: NodeState): readonly NodeEvent[] {
  if (state.status === 'none' || state.status === 'removed') throw new DomainError('not_found', 'node_not_found', `There is no node ${node_id}.`, { node_id });
  const known = state.status === 'awaiting_approval' ? state.keys : state.status === 'registered' ? (state.enrolment?.keys ?? null) : null;
  if (known === null) {
    throw new DomainError('conflict', 'node_not_paired', `Node "${state.name}" has not used its pairing code yet: there is nothing to approve.`, { node_id });
  }
  if (known.public_key_fingerprint !== public_key_fingerprint) {
    throw new DomainError(
      'conflict',
      'fingerprint_mismatch',
      `Node "${state.name}" paired with another key (${known.public_key_fingerprint}). If the machine that you enrol shows the fingerprint that you gave, somebody else used its code: remove the node and start again.`,
      { node_id, public_key_fingerprint: known.public_key_fingerprint },
    );
  }
  if (state.status === 'registered') return [];
  if (state.status !== 'awaiting_approval') throw new Error(`a node that is ${state.status} has no keys`);
  return [{ type: 'NodeEnrolled', data: { url: enrolledNodeUrl(state.offer.reverse_port), public_key_fingerprint, enrolled_at: now } }];
}
