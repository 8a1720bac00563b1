import { IsString, Matches, MaxLength } from 'class-validator';

export class PairNodeDto {
  /** From the pairing code @example "0193a5c2-7d1e-7000-8000-000000000002" */
  @IsString()
  @Matches(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/)
  readonly node_id!: string;

  /** Derived from the pairing code's secret @example "o0Xj7Hq1mJm3oV1Yy1s9R3v8sW0bq2f5u6t7x8y9zAB" */
  @IsString()
  @Matches(/^[A-Za-z0-9_-]{43}$/)
  readonly proof!: string;

  /** The node's own Ed25519 key @example "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG1vc3QgY2VydGFpbmx5IG5vdCBhIHJlYWwga2V5IQAA" */
  @IsString()
  @Matches(/^ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}$/)
  readonly public_key!: string;

  /** Token with which hub and node sign their calls; valid once the node is approved @example "TkVWRVItVVNFLVRISVMtT05FLTAwMDAwMDAwMDAwMDA" */
  @IsString()
  @Matches(/^[A-Za-z0-9_-]{43,128}$/)
  readonly token!: string;

  /** @example "hypervisor-1" */
  @IsString()
  @MaxLength(253)
  @Matches(/^[A-Za-z0-9._-]+$/)
  readonly hostname!: string;

  /** Version of the node program @example "0.1.0" */
  @IsString()
  @MaxLength(64)
  @Matches(/^[!-~]+$/)
  readonly version!: string;
}

export class PairedNodeDto {
  /** @example "0193a5c2-7d1e-7000-8000-000000000002" */ readonly node_id!: string;
  /** @example "rack-1" */ readonly name!: string;
  readonly state!: 'awaiting_approval';
  /** @example "SHA256:M0jZ0p4mJzL1d4x0a6wT1r0z2mZ9m3Jd7hXb1u5n3aQ" */ readonly public_key_fingerprint!: string;
  /** Port on the hub's loopback address that the node's tunnel forwards to the node @example 9082 */
  readonly reverse_port!: number;
  /** @example 10100 */ readonly nbd_port_first!: number;
  /** @example 101 */ readonly nbd_port_count!: number;
}
