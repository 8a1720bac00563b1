import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { NodeEnrolmentStarted, NodeEvent, NodePairingFailed } from './node.events.js';

/** Result of the latest observations of a node. */
export type Reachability =
  /** Not checked since its registration. */
  { readonly kind: 'unknown' } | { readonly kind: 'reachable'; readonly version: string } | { readonly kind: 'unreachable'; readonly code: string };

/** Key and token that authenticate a node. */
export type NodeKeys = {
  /** `ssh-ed25519 <base64>` */
  readonly public_key: string;
  readonly public_key_fingerprint: string;
  readonly token_sha256: string;
};

/** Enrolment of a node with keys of its own. */
export type Enrolment = {
  readonly reverse_port: number;
  readonly keys: NodeKeys;
  /** New keys that were not seen in use yet; null: no rotation is in progress. */
  readonly next: (NodeKeys & { readonly rotation_id: string }) | null;
};

type Named = { readonly node_id: string; readonly name: string };

export type NodeState =
  | { readonly status: 'none' }
  /** A pairing code was issued. */
  | (Named & {
      readonly status: 'pairing';
      readonly offer: NodeEnrolmentStarted['data'];
      readonly wrong_attempts: number;
      /** Why the code is no longer valid; null: it can be used. */
      readonly failed: NodePairingFailed['data']['code'] | null;
    })
  /** The code was used; the key is not valid yet. */
  | (Named & {
      readonly status: 'awaiting_approval';
      readonly offer: NodeEnrolmentStarted['data'];
      readonly keys: NodeKeys;
      readonly paired_at: string;
    })
  | (Named & {
      readonly status: 'registered';
      readonly url: string;
      readonly reachability: Reachability;
      /** null: registered by its address; it shares a token with all such nodes. */
      readonly enrolment: Enrolment | null;
      /** The last recorded change of its tunnel; null: none. */
      readonly tunnel: { readonly journal_id: string; readonly number: number } | null;
    })
  /** Was enrolled. The VMs registered on it are kept. */
  | (Named & { readonly status: 'revoked'; readonly reverse_port: number })
  /** May be registered again with the same id, because the node chooses its id. */
  | { readonly status: 'removed' };

export const initialNodeState: NodeState = { status: 'none' };

export function evolveNode(state: NodeState, event: NodeEvent): NodeState {
  switch (event.type) {
    case 'NodeRegistered': {
      const { node_id, name, url } = event.data;
      return { status: 'registered', node_id, name, url, reachability: { kind: 'unknown' }, enrolment: null, tunnel: null };
    }
    case 'NodeEnrolmentStarted': {
      const { node_id, name } = event.data;
      return { status: 'pairing', node_id, name, offer: event.data, wrong_attempts: 0, failed: null };
    }
    case 'NodePairingFailed': {
      if (state.status !== 'pairing') throw misplaced(event, state);
      const { code } = event.data;
      return { ...state, wrong_attempts: state.wrong_attempts + (code === 'expired' ? 0 : 1), failed: code === 'wrong_proof' ? null : code };
    }
    case 'NodePaired': {
      if (state.status !== 'pairing') throw misplaced(event, state);
      const { public_key, public_key_fingerprint, token_sha256, paired_at } = event.data;
      const { node_id, name, offer } = state;
      return { status: 'awaiting_approval', node_id, name, offer, keys: { public_key, public_key_fingerprint, token_sha256 }, paired_at };
    }
    case 'NodeEnrolled': {
      if (state.status !== 'awaiting_approval') throw misplaced(event, state);
      const { node_id, name, keys, offer } = state;
      const enrolment = { reverse_port: offer.reverse_port, keys, next: null };
      return { status: 'registered', node_id, name, url: event.data.url, reachability: { kind: 'unknown' }, enrolment, tunnel: null };
    }
    case 'NodeRevoked': {
      if (state.status !== 'registered' && state.status !== 'pairing' && state.status !== 'awaiting_approval') throw misplaced(event, state);
      const reversePort = state.status === 'registered' ? state.enrolment?.reverse_port : state.offer.reverse_port;
      if (reversePort === undefined) throw misplaced(event, state);
      return { status: 'revoked', node_id: state.node_id, name: state.name, reverse_port: reversePort };
    }
    case 'NodeRemoved':
      if (state.status === 'none' || state.status === 'removed') throw misplaced(event, state);
      return { status: 'removed' };
    case 'NodeMoved':
    case 'NodeBecameReachable':
    case 'NodeBecameUnreachable':
    case 'NodeLeftoversRemoved':
    case 'NodeTunnelChanged':
    case 'NodeKeyRotationStarted':
    case 'NodeKeyRotated':
      if (state.status !== 'registered') throw misplaced(event, state);
      return evolveRegistered(state, event);
    default:
      return unknownVariant('node stream', event);
  }
}

type Registered = Extract<NodeState, { readonly status: 'registered' }>;
type EventOfRegistered = Extract<
  NodeEvent,
  {
    readonly type:
      | 'NodeMoved'
      | 'NodeBecameReachable'
      | 'NodeBecameUnreachable'
      | 'NodeLeftoversRemoved'
      | 'NodeTunnelChanged'
      | 'NodeKeyRotationStarted'
      | 'NodeKeyRotated';
  }
>;

function evolveRegistered(state: Registered, event: EventOfRegistered): Registered {
  switch (event.type) {
    case 'NodeMoved':
      return { ...state, url: event.data.url };
    case 'NodeBecameReachable':
      return { ...state, reachability: { kind: 'reachable', version: event.data.version } };
    case 'NodeBecameUnreachable':
      return { ...state, reachability: { kind: 'unreachable', code: event.data.code } };
    case 'NodeLeftoversRemoved':
      return state;
    case 'NodeTunnelChanged':
      return { ...state, tunnel: { journal_id: event.data.journal_id, number: event.data.number } };
    case 'NodeKeyRotationStarted': {
      if (state.enrolment === null) throw misplaced(event, state);
      const { rotation_id, public_key, public_key_fingerprint, token_sha256 } = event.data;
      return { ...state, enrolment: { ...state.enrolment, next: { rotation_id, public_key, public_key_fingerprint, token_sha256 } } };
    }
    case 'NodeKeyRotated': {
      const { enrolment } = state;
      if (enrolment === null || enrolment.next?.rotation_id !== event.data.rotation_id) throw misplaced(event, state);
      const { public_key, public_key_fingerprint, token_sha256 } = enrolment.next;
      return { ...state, enrolment: { ...enrolment, keys: { public_key, public_key_fingerprint, token_sha256 }, next: null } };
    }
    default:
      return unknownVariant('node stream', event);
  }
}

function misplaced(event: NodeEvent, state: NodeState): Error {
  return new Error(`node stream has ${event.type} where the node is ${state.status}`);
}

export const nodeDecider = decidersOf<NodeState, NodeEvent>(initialNodeState, evolveNode);
