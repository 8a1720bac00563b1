import { DomainError } from '../../../../kernel/domain-error.js';
import type { NodeEvent } from '../model/node.events.js';
import type { NodeState } from '../model/node.state.js';

export type RegisterLocalNodeData = { readonly node_id: string; readonly name: string; readonly url: string; readonly now: string };

/** Runs at every start of the hub: registers the node the first time, and follows its address later. */
export function decideRegisterLocalNode(command: RegisterLocalNodeData, state: NodeState): readonly NodeEvent[] {
  const { node_id, name, url, now } = command;
  if (state.status !== 'none' && state.status !== 'removed' && (state.status !== 'registered' || state.enrolment !== null)) {
    throw new DomainError(
      'conflict',
      'node_enrolled_elsewhere',
      `The local node has the id of the enrolled node "${state.name}": its data directory was copied from that node.`,
      {
        node_id,
      },
    );
  }
  if (state.status !== 'registered') return [{ type: 'NodeRegistered', data: { node_id, name, url, registered_at: now } }];
  return state.url === url ? [] : [{ type: 'NodeMoved', data: { url, moved_at: now } }];
}
