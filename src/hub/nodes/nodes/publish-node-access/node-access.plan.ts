import { enrolledNodeUrl } from '../model/node.events.js';
import type { NodeKeys, NodeState } from '../model/node.state.js';

/** Access that a node's state grants: connections to the tunnel server, and signed calls. */
export type NodeAccess = {
  readonly node_id: string;
  readonly url: string;
  readonly status: 'enrolled' | 'not_enrolled_yet' | 'revoked';
  readonly reverse_port: number;
  /** Public keys that may open the node's tunnel. */
  readonly tunnel_keys: readonly string[];
  /**
   * May reach only the API, until `until`. `expires_at` is the expiry of the code and never changes: sshd ends the connections of a key whose line
   * changes, and with them the answer to the call that caused the change.
   */
  readonly pairing: { readonly public_key: string; readonly expires_at: string; readonly until: string } | null;
  /** Tokens that may sign the node's calls; the hub signs its calls to the node with the first. */
  readonly accepted: readonly NodeKeys['token_sha256'][];
  /** Tokens to keep: the accepted ones and the one that awaits approval. */
  readonly kept: readonly NodeKeys['token_sha256'][];
};

/** How long the key of a used code may still fetch a lost answer. */
const GRACE_MS = 120_000;

/** Returns null if the node has no keys of its own. */
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
