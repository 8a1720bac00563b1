import type { CommandContext } from '../../../../kernel/command-context.js';
import type { NodeEnrolmentStarted, NodeLeftoversRemoved, NodePaired, NodeRegistered, NodeTunnelChanged } from './node.events.js';

/**
 * Registers a node under the id in its answer. The result is a NodeRegistration.
 * @throws DomainError node_name_taken, node_already_registered, or the failed call to the node (node_unreachable, node_silent, node_broken_answer,
 * node_refused_token)
 */
export class RegisterNode {
  constructor(
    readonly name: string,
    /** Base address, http or https, without a path. */
    readonly url: string,
    readonly context: CommandContext,
  ) {}
}

/** Registers the node that the hub started itself, or records its new address. The result is a NodeRegistration. @throws as RegisterNode */
export class RegisterLocalNode {
  constructor(
    readonly url: string,
    readonly context: CommandContext,
  ) {}
}

export type NodeRegistration = { readonly node: Pick<NodeRegistered['data'], 'node_id' | 'name' | 'url'>; readonly position: string | null };

/** Records the leftovers of earlier backups that a node has removed. */
export class RecordLeftovers {
  constructor(
    readonly nodeId: string,
    readonly changeIds: NodeLeftoversRemoved['data']['change_ids'],
    readonly swept: readonly string[],
    readonly context: CommandContext,
  ) {}
}

/**
 * Removes a node. An enrolled node loses all access at once and, while VMs refer to it, stays known as revoked. The result is the position of the last event.
 * @throws DomainError node_not_found, node_in_use
 */
export class RemoveNode {
  constructor(
    readonly nodeId: string,
    readonly context: CommandContext,
  ) {}
}

/**
 * Issues a pairing code for a node of this name: a new node, or one that was revoked or did not pair in time. The result is an EnrolmentOffer.
 * @throws DomainError node_name_taken, enrolment_not_configured, node_ports_exhausted, pairing_code_shown_once
 */
export class StartEnrolment {
  constructor(
    readonly name: string,
    readonly context: CommandContext,
  ) {}
}

export type EnrolmentOffer = {
  readonly node: Pick<NodeEnrolmentStarted['data'], 'node_id' | 'name' | 'expires_at' | 'reverse_port'>;
  /** A secret: no event and no log contains it, and it is shown once. */
  readonly pairingCode: string;
  readonly position: string;
};

/**
 * A node submits the proof of its pairing code, its key and its token. The result is a Pairing.
 * @throws DomainError pairing_refused, pairing_code_expired, pairing_code_used, pairing_code_void
 */
export class PairNode {
  constructor(
    readonly nodeId: string,
    readonly offered: {
      readonly proof: string;
      /** `ssh-ed25519 <base64>` */
      readonly publicKey: string;
      readonly token: string;
      readonly host: NodePaired['data']['host'];
    },
    readonly context: CommandContext,
  ) {}
}

export type Pairing = { readonly name: string; readonly reversePort: number; readonly publicKeyFingerprint: string };

/** Approves a paired node. The result is the position. @throws DomainError node_not_found, node_not_paired, fingerprint_mismatch */
export class ApproveNode {
  constructor(
    readonly nodeId: string,
    readonly publicKeyFingerprint: string,
    readonly context: CommandContext,
  ) {}
}

/**
 * Makes an enrolled node create a new key and token. The result is a KeyRotation.
 * @throws DomainError node_not_found, node_not_enrolled, node_revoked, or the failed call to the node
 */
export class RotateNodeKeys {
  constructor(
    readonly nodeId: string,
    readonly context: CommandContext,
  ) {}
}

export type KeyRotation = {
  readonly publicKeyFingerprint: string;
  /** False: the new key was not seen in use yet; the hub continues the rotation until it is. */
  readonly completed: boolean;
  readonly position: string | null;
};

/** The node was seen using the key and the token of this rotation. @throws DomainError rotation_not_found, token_not_of_rotation */
export class RecordKeysInUse {
  constructor(
    readonly nodeId: string,
    readonly rotationId: string,
    /** The token that signed the call. */
    readonly token: string,
    readonly context: CommandContext,
  ) {}
}

/**
 * Resolves once the events up to this position are in effect: tokens in memory, keys in the tunnel server's file.
 * @throws DomainError node_access_not_published
 */
export class PublishNodeAccess {
  constructor(readonly position: string) {}
}

/** Records the changes that a node reports of its tunnel. */
export class RecordTunnel {
  constructor(
    readonly nodeId: string,
    readonly journalId: string,
    readonly changes: readonly Omit<NodeTunnelChanged['data'], 'journal_id' | 'recorded_at'>[],
    readonly context: CommandContext,
  ) {}
}
