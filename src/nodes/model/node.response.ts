import { ApiProperty } from '@nestjs/swagger';
import type { NodeReadModel } from '../../../projections/nodes/nodes.read-model.js';

export const NODE_STATES = ['unknown', 'reachable', 'unreachable'];

export class NodeErrorResponse {
  @ApiProperty({ example: 'connection_refused' }) readonly code!: string;
  @ApiProperty({ example: 'connect ECONNREFUSED 127.0.0.1:9081' }) readonly detail!: string;
}

/** A node as every route of the API shows it. */
export class NodeResponse {
  @ApiProperty({ example: '0199a3c0-0001-7000-8000-00000000000a' }) readonly node_id!: string;
  @ApiProperty({ example: 'local' }) readonly name!: string;
  @ApiProperty({ example: 'http://127.0.0.1:9081' }) readonly url!: string;
  @ApiProperty({ enum: NODE_STATES, description: '`unknown` until it has been called for the first time', example: 'reachable' }) readonly state!: string;
  @ApiProperty({ type: String, nullable: true, example: '2026-11-21T10:30:00.000Z' }) readonly state_since!: string | null;
  @ApiProperty({ type: String, nullable: true, example: '0.1.0' }) readonly version!: string | null;
  @ApiProperty({ type: NodeErrorResponse, nullable: true, description: 'Why it is unreachable', example: null }) readonly error!: NodeErrorResponse | null;
  @ApiProperty({ example: '2026-11-21T10:30:00.000Z' }) readonly registered_at!: string;
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
    position: node.position,
  };
}
