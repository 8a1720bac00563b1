import { IsIn, MaxLength } from 'class-validator';
import { Text, TextLike, WholeNumber } from './validation/member.decorators.js';
import { ED25519_PUBLIC_KEY, KEY_FINGERPRINT, MAX_PORT, NODE_ID, NODE_TOKEN } from './words.js';

/** POST /nodes/pair at the hub. */
export class NodePairingRequest {
  /** From the pairing code @example "0193a5c2-7d1e-7000-8000-000000000002" */
  @TextLike(NODE_ID, 'node_id must be the id in the pairing code')
  readonly node_id!: string;

  /** Derived from the pairing code's secret @example "o0Xj7Hq1mJm3oV1Yy1s9R3v8sW0bq2f5u6t7x8y9zAB" */
  @TextLike(/^[A-Za-z0-9_-]{43}$/, 'proof must be the proof of a pairing code')
  readonly proof!: string;

  /** The node's own Ed25519 key @example "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG1vc3QgY2VydGFpbmx5IG5vdCBhIHJlYWwga2V5IQAA" */
  @TextLike(ED25519_PUBLIC_KEY, 'public_key must be an Ed25519 public key')
  readonly public_key!: string;

  /** Token with which hub and node sign their calls; valid once the node is approved @example "TkVWRVItVVNFLVRISVMtT05FLTAwMDAwMDAwMDAwMDA" */
  @TextLike(NODE_TOKEN, 'token must be a token')
  readonly token!: string;

  /** @example "hypervisor-1" */
  @MaxLength(253)
  @TextLike(/^[A-Za-z0-9._-]+$/, 'hostname must be a host name')
  readonly hostname!: string;

  /** Version of the node program @example "0.1.0" */
  @MaxLength(64)
  @TextLike(/^[!-~]+$/, 'version must have no spaces')
  readonly version!: string;
}

/** The hub's answer. */
export class NodePairingAnswer {
  /** @example "0193a5c2-7d1e-7000-8000-000000000002" */
  @TextLike(NODE_ID, 'node_id must be the id of a node')
  readonly node_id!: string;

  /** @example "rack-1" */
  @Text()
  readonly name!: string;

  @IsIn(['awaiting_approval'])
  readonly state!: 'awaiting_approval';

  /** @example "SHA256:M0jZ0p4mJzL1d4x0a6wT1r0z2mZ9m3Jd7hXb1u5n3aQ" */
  @TextLike(KEY_FINGERPRINT, 'public_key_fingerprint must be a fingerprint')
  readonly public_key_fingerprint!: string;

  /** Port on the hub's loopback address that the node's tunnel forwards to the node @example 9082 */
  @WholeNumber(1, MAX_PORT)
  readonly reverse_port!: number;

  /** @example 10100 */
  @WholeNumber(1, MAX_PORT)
  readonly nbd_port_first!: number;

  /** @example 101 */
  @WholeNumber(1, MAX_PORT)
  readonly nbd_port_count!: number;
}
