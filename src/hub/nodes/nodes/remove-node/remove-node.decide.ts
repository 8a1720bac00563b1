import { DomainError } from '../../../../kernel/domain-error.js';
import type { NodeEvent } from '../model/node.events.js';
import type { NodeState } from '../model/node.state.js';

export type RemoveNodeData = {
  readonly node_id: string;
  /** Names of the VMs registered on the node. */
  readonly vm_names: readonly string[];
  readonly removed_at: string;
};

const NAMED_AT_MOST = 5;

export function decideRemoveNode(command: RemoveNodeData, state: NodeState): readonly NodeEvent[] {
  const { node_id, vm_names, removed_at } = command;
  if (state.status === 'none' || state.status === 'removed') throw new DomainError('not_found', 'node_not_found', `There is no node ${node_id}.`, { node_id });
  const removed: NodeEvent = { type: 'NodeRemoved', data: { removed_at } };
  const revoked: NodeEvent = { type: 'NodeRevoked', data: { revoked_at: removed_at } };
  // References to a node must not prevent an operator from revoking access; its VMs and their restore points stay.
  if (state.status === 'registered' && state.enrolment !== null) return vm_names.length > 0 ? [revoked] : [revoked, removed];
  if (vm_names.length === 0) return [removed];
  if (state.status === 'pairing' || state.status === 'awaiting_approval') return [revoked];
  const named = vm_names.slice(0, NAMED_AT_MOST).join('", "');
  const more = vm_names.length > NAMED_AT_MOST ? ` and ${vm_names.length - NAMED_AT_MOST} more` : '';
  throw new DomainError('conflict', 'node_in_use', `Node "${state.name}" has the VMs "${named}"${more}. Remove them first.`, {
    node_id,
    vms: vm_names.length,
  });
}
