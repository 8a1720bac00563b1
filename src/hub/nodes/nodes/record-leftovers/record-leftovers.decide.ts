import type { NodeEvent, NodeLeftoversRemoved } from '../model/node.events.js';
import type { NodeState } from '../model/node.state.js';

/** Records nothing for an empty report, nor for a node that is no longer registered. */
export function decideRecordLeftovers(command: NodeLeftoversRemoved['data'], state: NodeState): readonly NodeEvent[] {
  if (state.status !== 'registered' || (command.change_ids.length === 0 && command.swept.length === 0)) return [];
  return [{ type: 'NodeLeftoversRemoved', data: command }];
}
