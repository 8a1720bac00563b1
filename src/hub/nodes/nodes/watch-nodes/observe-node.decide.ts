import type { NodeEvent } from '../model/node.events.js';
import type { NodeState } from '../model/node.state.js';

export type NodeObservation =
  { readonly kind: 'reachable'; readonly version: string } | { readonly kind: 'unreachable'; readonly code: string; readonly detail: string };

export type ObserveNode = { readonly observation: NodeObservation; readonly at: string };

/** Records only changes: reachability, version, cause. */
export function decideObserveNode({ observation, at }: ObserveNode, state: NodeState): readonly NodeEvent[] {
  if (state.status !== 'registered') return [];
  const before = state.reachability;
  if (observation.kind === 'reachable') {
    if (before.kind === 'reachable' && before.version === observation.version) return [];
    return [{ type: 'NodeBecameReachable', data: { at, version: observation.version } }];
  }
  if (before.kind === 'unreachable' && before.code === observation.code) return [];
  return [{ type: 'NodeBecameUnreachable', data: { at, code: observation.code, detail: observation.detail } }];
}
