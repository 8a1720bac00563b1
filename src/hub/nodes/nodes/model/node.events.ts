import type { DomainEvent } from '../../../../kernel/event.js';
import type { NodeSource, NodeTunnelState } from '../../../../contract/words.js';

export type NodeRegistered = DomainEvent<
  'NodeRegistered',
  { readonly node_id: string; readonly name: string; readonly url: string; readonly registered_at: string }
>;
/** The node listens at another address. */
export type NodeMoved = DomainEvent<'NodeMoved', { readonly url: string; readonly moved_at: string }>;
export type NodeBecameReachable = DomainEvent<'NodeBecameReachable', { readonly at: string; readonly version: string }>;
export type NodeBecameUnreachable = DomainEvent<'NodeBecameUnreachable', { readonly at: string; readonly code: string; readonly detail: string }>;
/** The node removed unneeded leftovers of earlier backups, which it had kept or found without an owner. */
export type NodeLeftoversRemoved = DomainEvent<
  'NodeLeftoversRemoved',
  {
    readonly change_ids: readonly { readonly source: NodeSource; readonly source_ref: string; readonly change_id: string }[];
    /** As named by the node: backup jobs, scratch files. */
    readonly swept: readonly string[];
    readonly removed_at: string;
  }
>;
export type NodeRemoved = DomainEvent<'NodeRemoved', { readonly removed_at: string }>;

/** A pairing code was issued for a node of this name. The event holds only values from which the code cannot be recovered. */
export type NodeEnrolmentStarted = DomainEvent<
  'NodeEnrolmentStarted',
  {
    readonly node_id: string;
    readonly name: string;
    /** Port on the hub's loopback address that the node's tunnel forwards to the node's API. */
    readonly reverse_port: number;
    /** `ssh-ed25519 <base64>`, from the key pair that is derived from the code's secret. */
    readonly pairing_public_key: string;
    /** Hex digest of the proof that is derived from the code's secret. */
    readonly proof_sha256: string;
    readonly expires_at: string;
    readonly started_at: string;
  }
>;
/** The node used the code and submitted its key. It is not approved yet. */
export type NodePaired = DomainEvent<
  'NodePaired',
  {
    /** `ssh-ed25519 <base64>` */
    readonly public_key: string;
    /** As `ssh-keygen -l` shows it. */
    readonly public_key_fingerprint: string;
    /** Hex. */
    readonly token_sha256: string;
    /** Reported by the node. */
    readonly host: { readonly hostname: string; readonly version: string };
    readonly paired_at: string;
  }
>;
/** After `wrong_proof` the code is still valid; after `too_many_attempts` and `expired` it is not. */
export type NodePairingFailed = DomainEvent<
  'NodePairingFailed',
  { readonly code: 'wrong_proof' | 'too_many_attempts' | 'expired'; readonly detail: string; readonly failed_at: string }
>;
/** An operator compared the fingerprints: the node's key and token are valid from now on. */
export type NodeEnrolled = DomainEvent<'NodeEnrolled', { readonly url: string; readonly public_key_fingerprint: string; readonly enrolled_at: string }>;
/** The node created a new key and a new token. The old and the new ones are valid until the new ones are seen in use. */
export type NodeKeyRotationStarted = DomainEvent<
  'NodeKeyRotationStarted',
  {
    readonly rotation_id: string;
    readonly public_key: string;
    readonly public_key_fingerprint: string;
    readonly token_sha256: string;
    readonly started_at: string;
  }
>;
/** The new key and token were seen in use; the old ones are no longer valid. */
export type NodeKeyRotated = DomainEvent<
  'NodeKeyRotated',
  { readonly rotation_id: string; readonly public_key_fingerprint: string; readonly rotated_at: string }
>;
/** The node's key and token are no longer valid. Its VMs stay registered, and it may be enrolled again. */
export type NodeRevoked = DomainEvent<'NodeRevoked', { readonly revoked_at: string }>;

/** A change of the node's tunnel, as the node saw it. Sent when the hub is reachable again, which may be long after the change. */
export type NodeTunnelChanged = DomainEvent<
  'NodeTunnelChanged',
  {
    /** Identifies the change, together with the number. */
    readonly journal_id: string;
    readonly number: number;
    /** By the node's clock. */
    readonly changed_at: string;
    readonly state: NodeTunnelState;
    /** Why the tunnel is not `up`; null while it is up or connects for the first time. */
    readonly cause: { readonly code: string; readonly detail: string } | null;
    readonly connections: { readonly wanted: number; readonly up: number };
    readonly recorded_at: string;
  }
>;

export type NodeEnrolmentEvent = NodeEnrolmentStarted | NodePaired | NodePairingFailed | NodeEnrolled | NodeKeyRotationStarted | NodeKeyRotated | NodeRevoked;

/** Stream `node-<node_id>`. */
export type NodeEvent =
  NodeRegistered | NodeMoved | NodeBecameReachable | NodeBecameUnreachable | NodeLeftoversRemoved | NodeTunnelChanged | NodeRemoved | NodeEnrolmentEvent;

/** Address at which the hub calls an enrolled node: its tunnel listens there. */
export function enrolledNodeUrl(reversePort: number): string {
  return `http://127.0.0.1:${reversePort}`;
}

export function nodeStream(nodeId: string): string {
  return `node-${nodeId}`;
}
