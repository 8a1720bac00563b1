import type { NodeEvent } from '../../src/hub/nodes/nodes/model/node.events.js';
import { evolveNode, initialNodeState } from '../../src/hub/nodes/nodes/model/node.state.js';

/** The rules of a node's stream, for specificationOf. */
export const nodeStreamRules = { initialState: initialNodeState, evolve: evolveNode };

/** So many seconds after the code of `offer` was given out. */
export function secondsLater(seconds: number): string {
  return new Date(Date.UTC(2026, 10, 21, 10, 0, seconds)).toISOString();
}

const at = secondsLater;

/** Where the node of these histories is called once it is enrolled. */
export const NODE_URL = 'http://127.0.0.1:9082';

/** Expires after 900 s. */
export const offer = {
  node_id: 'n1',
  name: 'rack-1',
  reverse_port: 9082,
  pairing_public_key: 'ssh-ed25519 PAIRING',
  proof_sha256: 'p',
  expires_at: at(900),
  started_at: at(0),
};

/** Used the code after 10 s. */
export const pairing = {
  public_key: 'ssh-ed25519 KEY',
  public_key_fingerprint: 'SHA256:key',
  token_sha256: 'token',
  host: { hostname: 'h', version: '0.1.0' },
  paired_at: at(10),
};

export const rotation = {
  rotation_id: 'r1',
  public_key: 'ssh-ed25519 NEW',
  public_key_fingerprint: 'SHA256:new',
  token_sha256: 'new-token',
  started_at: at(100),
};

/** Facts of one node, each to be put after what it needs. */
export const started: NodeEvent = { type: 'NodeEnrolmentStarted', data: offer };
export const wrong: NodeEvent = { type: 'NodePairingFailed', data: { code: 'wrong_proof', detail: 'd', failed_at: at(5) } };
export const voided: NodeEvent = { type: 'NodePairingFailed', data: { code: 'too_many_attempts', detail: 'd', failed_at: at(6) } };
export const expired: NodeEvent = { type: 'NodePairingFailed', data: { code: 'expired', detail: 'd', failed_at: at(900) } };
export const paired: NodeEvent = { type: 'NodePaired', data: pairing };
export const enrolled: NodeEvent = { type: 'NodeEnrolled', data: { url: NODE_URL, public_key_fingerprint: 'SHA256:key', enrolled_at: at(20) } };
export const rotating: NodeEvent = { type: 'NodeKeyRotationStarted', data: rotation };
export const rotated: NodeEvent = { type: 'NodeKeyRotated', data: { rotation_id: 'r1', public_key_fingerprint: 'SHA256:new', rotated_at: at(101) } };
export const revoked: NodeEvent = { type: 'NodeRevoked', data: { revoked_at: at(200) } };
export const removed: NodeEvent = { type: 'NodeRemoved', data: { removed_at: at(200) } };
/** Registered by its address, so without keys of its own. */
export const byAddress: NodeEvent = { type: 'NodeRegistered', data: { node_id: 'n1', name: 'rack-1', url: NODE_URL, registered_at: at(0) } };
