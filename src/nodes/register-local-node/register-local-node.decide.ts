import type { NodeEvent } from '../model/node.events.js';
import type { NodeState } from '../model/node.state.js';

export type RegisterLocalNodeData = { readonly node_id: string; readonly name: string; readonly url: string; readonly now: string };

/** Done at every start of the hub: the first time it registers, later it only follows the node's address. */
export function decideRegisterLocalNode(command: RegisterLocalNodeData, state: NodeState): readonly NodeEvent[] {
  const { node_id, name, url, now } = command;
  if (state.status !== 'registered') return [{ type: 'NodeRegistered', data: { node_id, name, url, registered_at: now } }];
  return state.url === url ? [] : [{ type: 'NodeMoved', data: { url, moved_at: now } }];
}
