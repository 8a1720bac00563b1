import { DomainError } from '../../../../kernel/domain-error.js';
import type { NodeEvent, NodeRegistered } from '../model/node.events.js';
import type { NodeState } from '../model/node.state.js';

export type RegisterNodeData = {
  readonly node: NodeRegistered['data'];
  /** Id of another node with this name; null: none. */
  readonly name_holder: string | null;
};

export function decideRegisterNode(command: RegisterNodeData, state: NodeState): readonly NodeEvent[] {
  const { node, name_holder } = command;
  if (state.status !== 'none' && state.status !== 'removed') {
    const how = state.status === 'registered' ? `already registered as "${state.name}" at ${state.url}` : `already known as "${state.name}" (${state.status})`;
    throw new DomainError('conflict', 'node_already_registered', `The node at ${node.url} is ${how}.`, { node_id: node.node_id, name: state.name });
  }
  if (name_holder !== null) {
    throw new DomainError('conflict', 'node_name_taken', `A node named "${node.name}" already exists. Choose another name.`, {
      name: node.name,
      node_id: name_holder,
    });
  }
  return [{ type: 'NodeRegistered', data: node }];
}
