import { DomainError } from '../../../../kernel/domain-error.js';
import type { NodeEvent, NodeKeyRotationStarted } from '../model/node.events.js';
import type { NodeState } from '../model/node.state.js';

export type RotationStep =
  | { readonly kind: 'start'; readonly data: NodeKeyRotationStarted['data'] }
  | { readonly kind: 'in_use'; readonly rotation_id: string; readonly token_sha256: string; readonly now: string };

export type RotateKeys = { readonly node_id: string; readonly step: RotationStep };

export function decideRotateKeys({ node_id, step }: RotateKeys, state: NodeState): readonly NodeEvent[] {
  const { next, keys } = requireEnrolment(node_id, state);
  if (step.kind === 'start') {
    // One rotation at a time: the current one continues.
    return next === null ? [{ type: 'NodeKeyRotationStarted', data: step.data }] : [];
  }
  if (next?.rotation_id !== step.rotation_id) {
    // Repeated call.
    if (next === null && keys.token_sha256 === step.token_sha256) return [];
    throw new DomainError('conflict', 'rotation_not_found', `Key rotation ${step.rotation_id} of node "${nameOf(state)}" is not in progress.`, {
      node_id,
    });
  }
  if (next.token_sha256 !== step.token_sha256) {
    throw new DomainError('forbidden', 'token_not_of_rotation', 'The call is not signed with the new token, so it does not prove that the node uses it.', {
      node_id,
    });
  }
  const { rotation_id, public_key_fingerprint } = next;
  return [{ type: 'NodeKeyRotated', data: { rotation_id, public_key_fingerprint, rotated_at: step.now } }];
}

/** @throws DomainError node_not_found, node_revoked, node_not_enrolled */
export function requireEnrolment(nodeId: string, state: NodeState) {
  if (state.status === 'none' || state.status === 'removed')
    throw new DomainError('not_found', 'node_not_found', `There is no node ${nodeId}.`, { node_id: nodeId });
  if (state.status === 'revoked') throw new DomainError('conflict', 'node_revoked', `Node "${state.name}" was revoked.`, { node_id: nodeId });
  if (state.status !== 'registered' || state.enrolment === null) {
    throw new DomainError('conflict', 'node_not_enrolled', `Node "${state.name}" is not enrolled, so it has no keys of its own.`, { node_id: nodeId });
  }
  return { ...state.enrolment, url: state.url };
}

function nameOf(state: NodeState): string {
  return 'name' in state ? state.name : '';
}
