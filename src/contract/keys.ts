import { IsIn } from 'class-validator';
import { Text, TextLike } from './validation/member.decorators.js';
import { IsUuid } from './validation/uuid.decorator.js';
import { ED25519_PUBLIC_KEY, NODE_TOKEN } from './words.js';

/** Names a rotation of a node's keys. */
export class NodeKeyRotation {
  /** @example "0199a3c0-0001-7000-8000-00000000000b" */
  @IsUuid()
  readonly rotation_id!: string;
}

/**
 * POST /api/v1/keys/prepare: the node creates a new key and a new token without using them yet. A repeated call for the same rotation returns the same ones.
 */
export class NodePrepareKeys extends NodeKeyRotation {}

export class NodePreparedKeys {
  @Text()
  readonly rotation_id!: string;

  @TextLike(ED25519_PUBLIC_KEY, 'public_key must be an Ed25519 public key')
  readonly public_key!: string;

  @TextLike(NODE_TOKEN, 'token must be a token')
  readonly token!: string;
}

/**
 * POST /api/v1/keys/activate, once the hub accepts both. The node starts to use them and proves it by a call to the hub that is signed with the new token and
 * arrives through the new key. Answers immediately; may be repeated.
 */
export class NodeActivateKeys extends NodeKeyRotation {}

export class NodeActivating {
  @IsIn([true])
  readonly activating!: true;
}

/** POST /nodes/{id}/keys-in-use at the hub. */
export class NodeKeysInUse extends NodeKeyRotation {}
