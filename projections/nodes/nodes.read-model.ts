import { instant, json, text, type EntityOf, readModel, type RowOf } from '../../src/hub/store/postgres/read-model-definition.js';

/** Enrolment and keys of a node that has its own keys. */
export type NodeEnrolmentRow = {
  readonly state: 'pairing' | 'awaiting_approval' | 'enrolled' | 'failed' | 'revoked';
  readonly reverse_port: number;
  /** When the pairing code expires. */
  readonly expires_at: string;
  readonly public_key_fingerprint: string | null;
  readonly host: { readonly hostname: string; readonly version: string } | null;
  /** Why the last attempt to pair was refused. */
  readonly problem: { readonly code: string; readonly detail: string } | null;
  /** A new key was made but has not been seen in use yet. */
  readonly rotating: boolean;
  readonly paired_at: string | null;
  readonly enrolled_at: string | null;
  readonly keys_rotated_at: string | null;
  readonly revoked_at: string | null;
};

export type NodeTunnelRow = {
  readonly state: 'connecting' | 'up' | 'degraded' | 'down';
  /** According to the node's clock. */
  readonly since: string;
  readonly cause: { readonly code: string; readonly detail: string } | null;
  readonly connections: { readonly wanted: number; readonly up: number };
};

export const NodeReadModel = readModel({
  name: 'nodes',
  key: 'node_id',
  columns: {
    node_id: text(),
    name: text(),
    url: text(),
    /**
     * `unknown` until the hub has called the node for the first time. The hub never calls `pairing`, `pairing_failed`, `awaiting_approval` and `revoked` nodes.
     */
    state: text<'unknown' | 'reachable' | 'unreachable' | 'pairing' | 'pairing_failed' | 'awaiting_approval' | 'revoked'>(),
    version: text().nullable(),
    error: json<{ readonly code: string; readonly detail: string }>().nullable(),
    state_since: instant().nullable(),
    registered_at: instant(),
    /** null: registered by its address. */
    enrolment: json<NodeEnrolmentRow>().nullable(),
    /** As the node last reported it; null: nothing reported, as for nodes without a tunnel. */
    tunnel: json<NodeTunnelRow>().nullable(),
  },
});
export type NodeReadModel = EntityOf<typeof NodeReadModel>;
export type NodeRow = RowOf<typeof NodeReadModel>;
