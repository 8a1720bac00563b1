import { ApiProperty } from '@nestjs/swagger';
import type { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';

export const NODE_STATES = ['pairing', 'pairing_failed', 'awaiting_approval', 'unknown', 'reachable', 'unreachable', 'revoked'];
const ENROLMENT_STATES = ['pairing', 'awaiting_approval', 'enrolled', 'failed', 'revoked'];
/** States of nodes that the hub does not call, because they have no access. */
export const CLOSED_NODE_STATES: readonly string[] = ['pairing', 'pairing_failed', 'awaiting_approval', 'revoked'];

export class NodeErrorResponse {
  @ApiProperty({ example: 'connection_refused' }) readonly code!: string;
  @ApiProperty({ example: 'connect ECONNREFUSED 127.0.0.1:9081' }) readonly detail!: string;
}

export class NodeHostResponse {
  @ApiProperty({ example: 'hypervisor-1' }) readonly hostname!: string;
  @ApiProperty({ example: '0.1.0' }) readonly version!: string;
}

/** The enrolment of a node with keys of its own. */
export class NodeEnrolmentResponse {
  @ApiProperty({ enum: ENROLMENT_STATES, example: 'enrolled' }) readonly state!: string;
  @ApiProperty({ description: "Port on the hub's loopback address that the node's tunnel forwards to the node", example: 9082 }) readonly reverse_port!: number;
  @ApiProperty({ description: 'When the pairing code expires', example: '2026-11-21T10:45:00.000Z' }) readonly expires_at!: string;
  @ApiProperty({
    type: String,
    nullable: true,
    description: "Fingerprint of the node's public key, once it has paired",
    example: 'SHA256:M0jZ0p4mJzL1d4x0a6wT1r0z2mZ9m3Jd7hXb1u5n3aQ',
  })
  readonly public_key_fingerprint!: string | null;
  @ApiProperty({ type: NodeHostResponse, nullable: true, description: 'The machine of the node, as reported when it paired' })
  readonly host!: NodeHostResponse | null;
  @ApiProperty({ type: NodeErrorResponse, nullable: true, description: 'Why the last attempt to pair was refused', example: null })
  readonly problem!: NodeErrorResponse | null;
  @ApiProperty({ description: 'A new key was created but not seen in use yet', example: false }) readonly rotating!: boolean;
  @ApiProperty({ type: String, nullable: true, example: '2026-11-21T10:32:00.000Z' }) readonly paired_at!: string | null;
  @ApiProperty({ type: String, nullable: true, example: '2026-11-21T10:33:00.000Z' }) readonly enrolled_at!: string | null;
  @ApiProperty({ type: String, nullable: true, example: null }) readonly keys_rotated_at!: string | null;
  @ApiProperty({ type: String, nullable: true, example: null }) readonly revoked_at!: string | null;
}

const SHOWN_TUNNEL_STATES = ['connecting', 'up', 'degraded', 'down', 'unknown'];

export class NodeTunnelConnectionsResponse {
  @ApiProperty({ example: 2 }) readonly wanted!: number;
  @ApiProperty({ example: 2 }) readonly up!: number;
}

/** A node's tunnel, as last reported by the node. */
export class NodeTunnelResponse {
  @ApiProperty({
    enum: SHOWN_TUNNEL_STATES,
    description: '`degraded`: some of its connections are down, or the hub did not answer through them. `unknown` while the node cannot be reached',
    example: 'up',
  })
  readonly state!: string;
  @ApiProperty({ type: String, nullable: true, description: "By the node's clock", example: '2026-11-21T10:33:00.000Z' }) readonly since!: string | null;
  @ApiProperty({ type: NodeErrorResponse, nullable: true, description: 'Why it is not up', example: null }) readonly cause!: NodeErrorResponse | null;
  @ApiProperty({ type: NodeTunnelConnectionsResponse }) readonly connections!: NodeTunnelConnectionsResponse;
}

/** A node, as shown by every route of the API. */
export class NodeResponse {
  @ApiProperty({ example: '0199a3c0-0001-7000-8000-00000000000a' }) readonly node_id!: string;
  @ApiProperty({ example: 'local' }) readonly name!: string;
  @ApiProperty({ example: 'http://127.0.0.1:9081' }) readonly url!: string;
  @ApiProperty({
    enum: NODE_STATES,
    description: '`unknown` until the first call; nodes in `pairing`, `pairing_failed`, `awaiting_approval` and `revoked` are not called',
    example: 'reachable',
  })
  readonly state!: string;
  @ApiProperty({ type: String, nullable: true, example: '2026-11-21T10:30:00.000Z' }) readonly state_since!: string | null;
  @ApiProperty({ type: String, nullable: true, example: '0.1.0' }) readonly version!: string | null;
  @ApiProperty({ type: NodeErrorResponse, nullable: true, description: 'Why the node is unreachable', example: null })
  readonly error!: NodeErrorResponse | null;
  @ApiProperty({ example: '2026-11-21T10:30:00.000Z' }) readonly registered_at!: string;
  @ApiProperty({
    type: NodeEnrolmentResponse,
    nullable: true,
    description: 'null: the node was registered by its address and shares a token with all such nodes',
  })
  readonly enrolment!: NodeEnrolmentResponse | null;
  @ApiProperty({ type: NodeTunnelResponse, nullable: true, description: 'null: the node has no tunnel, or has not reported it yet' })
  readonly tunnel!: NodeTunnelResponse | null;
  @ApiProperty({ description: 'Position of the last event this answer knows; opaque', example: '0000000000000000042' }) readonly position!: string;
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
