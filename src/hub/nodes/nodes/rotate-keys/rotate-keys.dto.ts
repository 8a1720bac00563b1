export class RotatedKeysDto {
  /** @example "0199a3c0-0001-7000-8000-00000000000a" */ readonly node_id!: string;
  /** Fingerprint of the new key @example "SHA256:M0jZ0p4mJzL1d4x0a6wT1r0z2mZ9m3Jd7hXb1u5n3aQ" */
  readonly public_key_fingerprint!: string;
  /** The new key and token were seen in use, and the old ones are no longer valid */ readonly completed!: boolean;
  /** For ?after= @example "0000000000000000042" */ readonly position!: string | null;
}
