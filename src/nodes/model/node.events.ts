import type { DomainEvent } from '../../kernel/event.js';
import type { NodeSource } from '../../platform/node-api/node-api.js';

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

/** Stream `node-<node_id>`. */
export type NodeEvent = NodeRegistered | NodeMoved | NodeBecameReachable | NodeBecameUnreachable | NodeLeftoversRemoved | NodeRemoved;

export function nodeStream(nodeId: string): string {
  return `node-${nodeId}`;
}
