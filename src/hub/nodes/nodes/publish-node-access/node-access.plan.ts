import { enrolledNodeUrl } from '../model/node.events.js';
import type { NodeKeys, NodeState } from '../model/node.state.js';

/** What follows from a node's state for who may connect to the tunnel server, and whose calls count. */
export type NodeAccess = {
  readonly node_id: string;
  readonly url: string;
  readonly status: 'enrolled' | 'not_enrolled_yet' | 'revoked';
  readonly reverse_port: number;
  /** Public keys that may hold the node's tunnel. */
  readonly tunnel_keys: readonly string[];
  /**
   * May reach the API alone, until then. `expires_at` is the code's own end and never changes: a line that changes ends the connections of its key, and with them the answer
   * to the very call that has changed it.
   */
  readonly pairing: { readonly public_key: string; readonly expires_at: string; readonly until: string } | null;
  /** Of the tokens that calls of the node may be signed with; the first is what calls to it are signed with. */
  readonly accepted: readonly NodeKeys['token_sha256'][];
  /** Of the tokens that are kept: those, and what waits for approval. */
  readonly kept: readonly NodeKeys['token_sha256'][];
};

/** How long a used code's key may still fetch an answer that got lost. */
const GRACE_MS = 120_000;

/** null: the node has no keys of its own. */
export function planNodeAccess(state: NodeState, now: string): NodeAccess | null {
  switch (state.status) {
    case 'none':
    case 'removed':
      return null;
    case 'pairing': {
      const { pairing_public_key, expires_at } = state.offer;
      const open = state.failed === null && now < expires_at;
      return closed(
        state.node_id,
        state.offer.reverse_port,
        'not_enrolled_yet',
        open ? { public_key: pairing_public_key, expires_at, until: expires_at } : null,
        [],
      );
    }
    case 'awaiting_approval': {
      const until = new Date(Date.parse(state.paired_at) + GRACE_MS).toISOString();
      const { pairing_public_key, expires_at } = state.offer;
      const pairing = now < until ? { public_key: pairing_public_key, expires_at, until } : null;
      return closed(state.node_id, state.offer.reverse_port, 'not_enrolled_yet', pairing, [state.keys.token_sha256]);
    }
    case 'revoked':
      return closed(state.node_id, state.reverse_port, 'revoked', null, []);
    case 'registered': {
      if (state.enrolment === null) return null;
      const { reverse_port, keys, next } = state.enrolment;
      const all = next === null ? [keys] : [keys, next];
      const tokens = all.map((one) => one.token_sha256);
      return {
        node_id: state.node_id,
        url: state.url,
        status: 'enrolled',
        reverse_port,
        tunnel_keys: all.map((one) => one.public_key),
        pairing: null,
        accepted: tokens,
        kept: tokens,
      };
    }
  }
}

function closed(nodeId: string, reversePort: number, status: NodeAccess['status'], pairing: NodeAccess['pairing'], kept: NodeAccess['kept']): NodeAccess {
  return { node_id: nodeId, url: enrolledNodeUrl(reversePort), status, reverse_port: reversePort, tunnel_keys: [], pairing, accepted: [], kept };
}
