import type { NodeEvent, NodeLeftoversRemoved } from '../model/node.events.js';
import type { NodeState } from '../model/node.state.js';

/** Nothing found is nothing to tell; of a node that is not registered any more nothing is recorded. */
export function decideRecordLeftovers(command: NodeLeftoversRemoved['data'], state: NodeState): readonly NodeEvent[] {
  if (state.status !== 'registered' || (command.change_ids.length === 0 && command.swept.length === 0)) return [];
  return [{ type: 'NodeLeftoversRemoved', data: command }];
}
