import { unknownVariant } from '../../kernel/decider.js';
import type { NodeEvent } from './node.events.js';

/** What the last observations of a node amount to. */
export type Reachability =
  /** Not yet looked at since its registration. */
  { readonly kind: 'unknown' } | { readonly kind: 'reachable'; readonly version: string } | { readonly kind: 'unreachable'; readonly code: string };

export type NodeState =
  | { readonly status: 'none' }
  | { readonly status: 'registered'; readonly node_id: string; readonly name: string; readonly url: string; readonly reachability: Reachability }
  /** May be registered again under the same id: the id is the node's own. */
  | { readonly status: 'removed' };

export const initialNodeState: NodeState = { status: 'none' };

export function evolveNode(state: NodeState, event: NodeEvent): NodeState {
  if (event.type === 'NodeRegistered') {
    const { node_id, name, url } = event.data;
    return { status: 'registered', node_id, name, url, reachability: { kind: 'unknown' } };
  }
  if (state.status !== 'registered') throw new Error(`node stream has ${event.type} where no node is registered`);
  switch (event.type) {
    case 'NodeMoved':
      return { ...state, url: event.data.url };
    case 'NodeBecameReachable':
      return { ...state, reachability: { kind: 'reachable', version: event.data.version } };
    case 'NodeBecameUnreachable':
      return { ...state, reachability: { kind: 'unreachable', code: event.data.code } };
    case 'NodeLeftoversRemoved':
      return state;
    case 'NodeRemoved':
      return { status: 'removed' };
    default:
      return unknownVariant('node stream', event);
  }
}
