import type { DomainEvent } from '../../../../kernel/event.js';
import type { NodeSource } from '../../../../contract/node-api.js';

export type NodeRegistered = DomainEvent<
  'NodeRegistered',
  { readonly node_id: string; readonly name: string; readonly url: string; readonly registered_at: string }
>;
/** The node listens elsewhere now. */
export type NodeMoved = DomainEvent<'NodeMoved', { readonly url: string; readonly moved_at: string }>;
export type NodeBecameReachable = DomainEvent<'NodeBecameReachable', { readonly at: string; readonly version: string }>;
export type NodeBecameUnreachable = DomainEvent<'NodeBecameUnreachable', { readonly at: string; readonly code: string; readonly detail: string }>;
/** Of earlier backups the node had kept, or found without an owner, what nothing needs. */
export type NodeLeftoversRemoved = DomainEvent<
  'NodeLeftoversRemoved',
  {
    readonly change_ids: readonly { readonly source: NodeSource; readonly source_ref: string; readonly change_id: string }[];
    /** In the node's words: backup jobs, scratch files. */
    readonly swept: readonly string[];
    readonly removed_at: string;
  }
>;
export type NodeRemoved = DomainEvent<'NodeRemoved', { readonly removed_at: string }>;

/** A node is to be enrolled under this name: a pairing code for it was given out. Of the code only what cannot be turned back into it is kept. */
export type NodeEnrolmentStarted = DomainEvent<
  'NodeEnrolmentStarted',
  {
    readonly node_id: string;
    readonly name: string;
    /** On the hub's loopback; the node's tunnel makes it lead to the node's API. */
    readonly reverse_port: number;
    /** `ssh-ed25519 <base64>`, of the key pair that is derived from the code's secret. */
    readonly pairing_public_key: string;
    /** Hex, of the proof that is derived from the code's secret. */
    readonly proof_sha256: string;
    readonly expires_at: string;
    readonly started_at: string;
  }
>;
/** The code was shown, and with it the node's key. Nobody has approved it yet. */
export type NodePaired = DomainEvent<
  'NodePaired',
  {
    /** `ssh-ed25519 <base64>` */
    readonly public_key: string;
    /** As `ssh-keygen -l` shows it. */
    readonly public_key_fingerprint: string;
    /** Hex. */
    readonly token_sha256: string;
    /** What the node says of its machine. */
    readonly host: { readonly hostname: string; readonly version: string };
    readonly paired_at: string;
  }
>;
/** `wrong_proof`: somebody tried, and the code still holds; after `too_many_attempts` and `expired` it is worth nothing any more. */
export type NodePairingFailed = DomainEvent<
  'NodePairingFailed',
  { readonly code: 'wrong_proof' | 'too_many_attempts' | 'expired'; readonly detail: string; readonly failed_at: string }
>;
/** An operator has compared the fingerprints: the node's key and token count from now on. */
export type NodeEnrolled = DomainEvent<'NodeEnrolled', { readonly url: string; readonly public_key_fingerprint: string; readonly enrolled_at: string }>;
/** The node has made a new key and a new token. Old and new both count until the new ones were seen in use. */
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
/** The new key and the new token were seen in use; the old ones count no more. */
export type NodeKeyRotated = DomainEvent<
  'NodeKeyRotated',
  { readonly rotation_id: string; readonly public_key_fingerprint: string; readonly rotated_at: string }
>;
/** Nothing of the node's counts any more. Its VMs stay registered; it may be enrolled anew. */
export type NodeRevoked = DomainEvent<'NodeRevoked', { readonly revoked_at: string }>;

export const TUNNEL_STATES = ['connecting', 'up', 'degraded', 'down'] as const;
export type TunnelStateName = (typeof TUNNEL_STATES)[number];

/** What the node saw of its tunnel. It is told when the hub can be reached again, so long after the change perhaps. */
export type NodeTunnelChanged = DomainEvent<
  'NodeTunnelChanged',
  {
    /** Together with the number, which change it is. */
    readonly journal_id: string;
    readonly number: number;
    /** By the node's clock. */
    readonly changed_at: string;
    readonly state: TunnelStateName;
    /** Why it is not `up`; null while it is, or comes up for the first time. */
    readonly cause: { readonly code: string; readonly detail: string } | null;
    readonly connections: { readonly wanted: number; readonly up: number };
    readonly recorded_at: string;
  }
>;

export type NodeEnrolmentEvent = NodeEnrolmentStarted | NodePaired | NodePairingFailed | NodeEnrolled | NodeKeyRotationStarted | NodeKeyRotated | NodeRevoked;

/** Stream `node-<node_id>`. */
export type NodeEvent =
  NodeRegistered | NodeMoved | NodeBecameReachable | NodeBecameUnreachable | NodeLeftoversRemoved | NodeTunnelChanged | NodeRemoved | NodeEnrolmentEvent;

/** Where the hub calls an enrolled node: its tunnel listens there. */
export function enrolledNodeUrl(reversePort: number): string {
  return `http://127.0.0.1:${reversePort}`;
}

export function nodeStream(nodeId: string): string {
  return `node-${nodeId}`;
}
