import type { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';

export const NODE_STATES = ['pairing', 'pairing_failed', 'awaiting_approval', 'unknown', 'reachable', 'unreachable', 'revoked'] as const;
/** States of nodes that the hub does not call, because they have no access. */
export const CLOSED_NODE_STATES: readonly string[] = ['pairing', 'pairing_failed', 'awaiting_approval', 'revoked'];

export class NodeErrorResponse {
  /** @example "connection_refused" */ readonly code!: string;
  /** @example "connect ECONNREFUSED 127.0.0.1:9081" */ readonly detail!: string;
}

export class NodeHostResponse {
  /** @example "hypervisor-1" */ readonly hostname!: string;
  /** @example "0.1.0" */ readonly version!: string;
}

/** The enrolment of a node with keys of its own. */
export class NodeEnrolmentResponse {
  readonly state!: 'pairing' | 'awaiting_approval' | 'enrolled' | 'failed' | 'revoked';
  /** Port on the hub's loopback address that the node's tunnel forwards to the node @example 9082 */
  readonly reverse_port!: number;
  /** When the pairing code expires @example "2026-11-21T10:45:00.000Z" */ readonly expires_at!: string;
  /** Fingerprint of the node's public key, once it has paired @example "SHA256:M0jZ0p4mJzL1d4x0a6wT1r0z2mZ9m3Jd7hXb1u5n3aQ" */
  readonly public_key_fingerprint!: string | null;
  /** The machine of the node, as reported when it paired */ readonly host!: NodeHostResponse | null;
  /** Why the last attempt to pair was refused */ readonly problem!: NodeErrorResponse | null;
  /** A new key was created but not seen in use yet */ readonly rotating!: boolean;
  /** @example "2026-11-21T10:32:00.000Z" */ readonly paired_at!: string | null;
  /** @example "2026-11-21T10:33:00.000Z" */ readonly enrolled_at!: string | null;
  /** @example null */ readonly keys_rotated_at!: string | null;
  /** @example null */ readonly revoked_at!: string | null;
}

export class NodeTunnelConnectionsResponse {
  /** @example 2 */ readonly wanted!: number;
  /** @example 2 */ readonly up!: number;
}

/** A node's tunnel, as last reported by the node. */
export class NodeTunnelResponse {
  /** `degraded`: some of its connections are down, or the hub did not answer through them. `unknown` while the node cannot be reached */
  readonly state!: 'connecting' | 'up' | 'degraded' | 'down' | 'unknown';
  /** By the node's clock @example "2026-11-21T10:33:00.000Z" */ readonly since!: string | null;
  /** Why it is not up */ readonly cause!: NodeErrorResponse | null;
  readonly connections!: NodeTunnelConnectionsResponse;
}

/** A node, as shown by every route of the API. */
export class NodeResponse {
  /** @example "0199a3c0-0001-7000-8000-00000000000a" */ readonly node_id!: string;
  /** @example "local" */ readonly name!: string;
  /** @example "http://127.0.0.1:9081" */ readonly url!: string;
  /** `unknown` until the first call; nodes in `pairing`, `pairing_failed`, `awaiting_approval` and `revoked` are not called */
  readonly state!: (typeof NODE_STATES)[number];
  /** @example "2026-11-21T10:30:00.000Z" */ readonly state_since!: string | null;
  /** @example "0.1.0" */ readonly version!: string | null;
  /** Why the node is unreachable */ readonly error!: NodeErrorResponse | null;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly registered_at!: string;
  /** null: the node was registered by its address and shares a token with all such nodes */
  readonly enrolment!: NodeEnrolmentResponse | null;
  /** null: the node has no tunnel, or has not reported it yet */ readonly tunnel!: NodeTunnelResponse | null;
  /** Position of the last event this answer knows; opaque @example "0000000000000000042" */ readonly position!: string;
}

export function toNodeResponse(node: NodeReadModel): NodeResponse {
  return {
    node_id: node.node_id,
    name: node.name,
    url: node.url,
    state: node.state,
    state_since: node.state_since?.toISOString() ?? null,
    version: node.version,
    error: node.error,
    registered_at: node.registered_at.toISOString(),
    enrolment: node.enrolment,
    tunnel: tunnelOf(node),
    position: node.position,
  };
}

/** While the node cannot be reached, its last report is out of date: the tunnel itself may be down. */
function tunnelOf({ tunnel, state, state_since, error }: NodeReadModel): NodeTunnelResponse | null {
  if (tunnel === null || state === 'reachable') return tunnel;
  return { state: 'unknown', since: state_since?.toISOString() ?? null, cause: error, connections: { wanted: tunnel.connections.wanted, up: 0 } };
}
