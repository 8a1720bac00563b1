import { IsBoolean, IsIn, IsString, MaxLength } from 'class-validator';
import { IsInstant } from './validation/instant.decorator.js';
import { ListOf, Part, Text, TextLike, WholeNumber } from './validation/member.decorators.js';
import { Nullable, Optional } from './validation/presence.decorators.js';
import { MAX_PORT, NODE_TUNNEL_STATES, type NodeTunnelState } from './words.js';

const MAX_HUBS = 8;
const MAX_CHANGES = 500;
const MAX_DETAIL = 4_096;
const MAX_CONNECTIONS = 64;

export class NodeHubAddress {
  /** @example "hub-b.example.org" */
  @TextLike(/^[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?$/, 'host must be a host name or address')
  readonly host!: string;

  /** @example 9022 */
  @WholeNumber(1, MAX_PORT)
  readonly port!: number;
}

/** POST /api/v1/tunnel-ports: the hub's ports that an enrolled node's tunnel leads to. Takes effect immediately; may be repeated. */
export class NodeTunnelPorts {
  @WholeNumber(1, MAX_PORT)
  readonly hub_api_port!: number;

  @WholeNumber(1, MAX_PORT)
  readonly nbd_port_first!: number;

  @WholeNumber(1, MAX_PORT)
  readonly nbd_port_count!: number;

  /** Tunnel servers of the active hub and of its standby; absent: the hub knows of no standby, and the node keeps the addresses that it has. */
  @Optional()
  @ListOf(() => NodeHubAddress, { min: 1, max: MAX_HUBS })
  readonly hubs?: readonly NodeHubAddress[];
}

export class NodeTunnelPortsTaken {
  @IsBoolean()
  readonly changed!: boolean;
}

export class NodeTunnelCause {
  /** @example "connection_refused" */
  @Text({ max: 100 })
  readonly code!: string;

  /** @example "Nothing listens at backup.example.org:9022." */
  @IsString()
  @MaxLength(MAX_DETAIL)
  readonly detail!: string;
}

export class NodeTunnelConnections {
  /** @example 2 */
  @WholeNumber(0, MAX_CONNECTIONS)
  readonly wanted!: number;

  /** @example 0 */
  @WholeNumber(0, MAX_CONNECTIONS)
  readonly up!: number;
}

export class NodeTunnelChange {
  /** Number in the journal @example 7 */
  @WholeNumber(1)
  readonly number!: number;

  /** By the node's clock @example "2026-11-21T10:30:00.000Z" */
  @IsInstant()
  readonly at!: string;

  @IsIn(NODE_TUNNEL_STATES)
  readonly state!: NodeTunnelState;

  @Nullable()
  @Part(() => NodeTunnelCause)
  readonly cause!: NodeTunnelCause | null;

  @Part(() => NodeTunnelConnections)
  readonly connections!: NodeTunnelConnections;
}

/** POST /telemetry/tunnel/{node_id} at the hub: tunnel changes that it may not know yet. */
export class NodeTunnelReport {
  /** Changes when the node had to start a new journal @example "0199a3c0-0001-4000-8000-0000000000aa" */
  @Text({ max: 64 })
  readonly journal_id!: string;

  @ListOf(() => NodeTunnelChange, { max: MAX_CHANGES })
  readonly transitions!: readonly NodeTunnelChange[];
}
