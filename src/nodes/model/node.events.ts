import type { DomainEvent } from '../../kernel/event.js';

export type NodeRegistered = DomainEvent<
  'NodeRegistered',
  { readonly node_id: string; readonly name: string; readonly url: string; readonly registered_at: string }
>;
/** The node listens elsewhere now. */
export type NodeMoved = DomainEvent<'NodeMoved', { readonly url: string; readonly moved_at: string }>;
export type NodeBecameReachable = DomainEvent<'NodeBecameReachable', { readonly at: string; readonly version: string }>;
export type NodeBecameUnreachable = DomainEvent<'NodeBecameUnreachable', { readonly at: string; readonly code: string; readonly detail: string }>;
export type NodeRemoved = DomainEvent<'NodeRemoved', { readonly removed_at: string }>;

/** Stream `node-<node_id>`. */
export type NodeEvent = NodeRegistered | NodeMoved | NodeBecameReachable | NodeBecameUnreachable | NodeRemoved;

export function nodeStream(nodeId: string): string {
  return `node-${nodeId}`;
}
