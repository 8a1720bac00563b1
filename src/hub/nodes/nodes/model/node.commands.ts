import { Command } from '@nestjs/cqrs';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Position } from '../../../../kernel/position.js';
import type { NodeEnrolmentStarted, NodeLeftoversRemoved, NodePaired, NodeRegistered, NodeTunnelChanged } from './node.events.js';

/**
 * Registers a node under the id in its answer.
 * @throws DomainError node_name_taken, node_already_registered, or the failed call to the node (node_unreachable, node_silent, node_broken_answer,
 * node_refused_token)
 */
export class RegisterNode extends Command<NodeRegistration> {
  constructor(
    readonly name: string,
    /** Base address, http or https, without a path. */
    readonly url: string,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/** Registers the node that the hub started itself, or records its new address. @throws as RegisterNode */
export class RegisterLocalNode extends Command<NodeRegistration> {
  constructor(
    readonly url: string,
    readonly context: CommandContext,
  ) {
    super();
  }
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
export class RemoveNode extends Command<Position | null> {
  constructor(
    readonly nodeId: string,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/**
 * Issues a pairing code for a node of this name: a new node, or one that was revoked or did not pair in time.
 * @throws DomainError node_name_taken, enrolment_not_configured, node_ports_exhausted, pairing_code_shown_once
 */
export class StartEnrolment extends Command<EnrolmentOffer> {
  constructor(
    readonly name: string,
    readonly context: CommandContext,
  ) {
    super();
  }
}

export type EnrolmentOffer = {
  readonly node: Pick<NodeEnrolmentStarted['data'], 'node_id' | 'name' | 'expires_at' | 'reverse_port'>;
  /** A secret: no event and no log contains it, and it is shown once. */
  readonly pairingCode: string;
  readonly position: string;
};

/**
 * A node submits the proof of its pairing code, its key and its token.
 * @throws DomainError pairing_refused, pairing_code_expired, pairing_code_used, pairing_code_void
 */
export class PairNode extends Command<Pairing> {
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
  ) {
    super();
  }
}

export type Pairing = { readonly name: string; readonly reversePort: number; readonly publicKeyFingerprint: string };

/** Approves a paired node. The result is the position. @throws DomainError node_not_found, node_not_paired, fingerprint_mismatch */
export class ApproveNode extends Command<Position | null> {
  constructor(
    readonly nodeId: string,
    readonly publicKeyFingerprint: string,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/**
 * Makes an enrolled node create a new key and token.
 * @throws DomainError node_not_found, node_not_enrolled, node_revoked, or the failed call to the node
 */
export class RotateNodeKeys extends Command<KeyRotation> {
  constructor(
    readonly nodeId: string,
    readonly context: CommandContext,
  ) {
    super();
  }
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

/** Records the changes that a node reports of its tunnel. */
export class RecordTunnel {
  constructor(
    readonly nodeId: string,
    readonly journalId: string,
    readonly changes: readonly Omit<NodeTunnelChanged['data'], 'journal_id' | 'recorded_at'>[],
    readonly context: CommandContext,
  ) {}
}
