import { DomainError } from '../../kernel/domain-error.js';
import type { NodeEvent } from '../model/node.events.js';
import type { NodeState } from '../model/node.state.js';

export type RemoveNodeData = {
  readonly node_id: string;
  /** Registered VMs of the node, by name. */
  readonly vm_names: readonly string[];
  readonly removed_at: string;
};

const NAMED_AT_MOST = 5;

export function decideRemoveNode(command: RemoveNodeData, state: NodeState): readonly NodeEvent[] {
  const { node_id, vm_names } = command;
  if (state.status !== 'registered') throw new DomainError('not_found', 'node_not_found', `There is no node ${node_id}.`, { node_id });
  if (vm_names.length > 0) {
    const named = vm_names.slice(0, NAMED_AT_MOST).join('", "');
    const more = vm_names.length > NAMED_AT_MOST ? ` and ${vm_names.length - NAMED_AT_MOST} more` : '';
    throw new DomainError('conflict', 'node_in_use', `Node "${state.name}" has the VMs "${named}"${more}. Remove them first.`, {
      node_id,
      vms: vm_names.length,
    });
  }
  return [{ type: 'NodeRemoved', data: { removed_at: command.removed_at } }];
}
