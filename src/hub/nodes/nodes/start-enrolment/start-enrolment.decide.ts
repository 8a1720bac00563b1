import { DomainError } from '../../../../kernel/domain-error.js';
import type { NodeEnrolmentStarted, NodeEvent } from '../model/node.events.js';
import type { NodeState } from '../model/node.state.js';

export type StartEnrolmentData = {
  readonly offer: NodeEnrolmentStarted['data'];
  /** Id of another node with this name; null: none. */
  readonly name_holder: string | null;
};

export function decideStartEnrolment({ offer, name_holder }: StartEnrolmentData, state: NodeState): readonly NodeEvent[] {
  const free = state.status === 'none' || state.status === 'removed' || state.status === 'revoked' || (state.status === 'pairing' && state.failed !== null);
  if (name_holder !== null || !free) {
    throw new DomainError('conflict', 'node_name_taken', `A node named "${offer.name}" already exists. Choose another name, or remove that node first.`, {
      name: offer.name,
      node_id: name_holder ?? offer.node_id,
    });
  }
  return [{ type: 'NodeEnrolmentStarted', data: offer }];
}
