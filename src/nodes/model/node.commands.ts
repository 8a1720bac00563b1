import type { CommandContext } from '../../kernel/command-context.js';
import type { NodeLeftoversRemoved, NodeRegistered } from './node.events.js';

/**
 * Make a node known by the id that it answers with. The result is a NodeRegistration.
 * @throws DomainError node_name_taken, node_already_registered, or why the node cannot be asked (node_unreachable, node_silent, node_broken_answer, node_refused_token)
 */
export class RegisterNode {
  constructor(
    readonly name: string,
    /** Base address, http or https, without a path. */
    readonly url: string,
    readonly context: CommandContext,
  ) {}
}

/** Make the node that the hub started beside itself known, or note that it listens elsewhere now. The result is a NodeRegistration. @throws as RegisterNode */
export class RegisterLocalNode {
  constructor(
    readonly url: string,
    readonly context: CommandContext,
  ) {}
}

export type NodeRegistration = { readonly node: Pick<NodeRegistered['data'], 'node_id' | 'name' | 'url'>; readonly position: string | null };

/** Take note of what a node had left of earlier backups, and has removed. */
export class RecordLeftovers {
  constructor(
    readonly nodeId: string,
    readonly changeIds: NodeLeftoversRemoved['data']['change_ids'],
    readonly swept: readonly string[],
    readonly context: CommandContext,
  ) {}
}

/** Forget a node that has no VMs. The result is the position of its removal. @throws DomainError node_not_found, node_in_use */
export class RemoveNode {
  constructor(
    readonly nodeId: string,
    readonly context: CommandContext,
  ) {}
}
