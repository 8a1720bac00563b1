import { createCipheriv, createSecretKey, hash, type KeyObject, randomBytes } from 'node:crypto';

const MAC_KEY_BYTES = 16;
const LEAF_KEY_BYTES = 16;
const MAC_BYTES = 16;
const NONCE_BYTES = 12;
const DIGEST_BYTES = 32;
/** Granularity, in bytes, at which zeroes are distinguished from data. Equals the cluster size of a backup's files. */
export const CONTENT_GRAIN = 65_536;

/** Runs of a content digest end at multiples of this, in bytes. A power of two, and the request size of a copy across a network. */
export const CONTENT_BLOCK = 262_144;

const DATA = 1;
const ZEROES = 0;

/** Digest of the bytes that a copy wrote to a disk, and its key. The key must stay secret while the disk can be written to. */
export interface KeyedDigest {
  /** Lower-case hex, 64 digits. */
  readonly key: string;
  /** Lower-case hex, 64 digits. */
  readonly digest: string;
}

/**
 * A keyed digest of a set of runs of bytes (data or zeroes) at their offsets on a disk, independent of their order. Both ends split runs alike: a run is as
 * long as possible within a CONTENT_BLOCK, in whole CONTENT_GRAINs, and runs never overlap.
 *
 * GMAC authenticates each run's data with its offset as the nonce. SHA-256 hashes each tag with offset, length and kind under the other half of the key, and
 * the hashes are combined by exclusive or (an XOR MAC). Without the key nobody can alter, move, add or drop a run and keep the digest.
 */
export class ContentDigest {
  private readonly macKey: KeyObject;
  private readonly nonce = Buffer.alloc(NONCE_BYTES);
  /** Key, offset, length, kind, tag. */
  private readonly leaf = Buffer.alloc(LEAF_KEY_BYTES + 8 + 4 + 1 + MAC_BYTES);
  private readonly sum = new Uint8Array(DIGEST_BYTES);

  /** @param key lower-case hex, 64 digits */
  constructor(private readonly key: string = randomBytes(MAC_KEY_BYTES + LEAF_KEY_BYTES).toString('hex')) {
    const bytes = Buffer.from(key, 'hex');
    this.macKey = createSecretKey(bytes.subarray(0, MAC_KEY_BYTES));
    bytes.copy(this.leaf, 0, MAC_KEY_BYTES);
  }

  /** @param parts the run's data, in order */
  addData(offset: number, parts: readonly Buffer[]): void {
    this.nonce.writeBigUInt64BE(BigInt(offset));
    const mac = createCipheriv('aes-128-gcm', this.macKey, this.nonce);
    let length = 0;
    for (const part of parts) {
      mac.setAAD(part);
      length += part.length;
    }
    mac.final();
    this.add(offset, length, DATA, mac.getAuthTag());
  }

  addZeroes(offset: number, length: number): void {
    this.add(offset, length, ZEROES, null);
  }

  get result(): KeyedDigest {
    return { key: this.key, digest: Buffer.from(this.sum).toString('hex') };
  }

  private add(offset: number, length: number, kind: number, tag: Buffer | null): void {
    const { leaf, sum } = this;
    let at = leaf.writeBigUInt64BE(BigInt(offset), LEAF_KEY_BYTES);
    at = leaf.writeUInt32BE(length, at);
    at = leaf.writeUInt8(kind, at);
    if (tag === null) leaf.fill(0, at);
    else tag.copy(leaf, at);
    const hashed = hash('sha256', leaf, 'buffer');
    for (let index = 0; index < DIGEST_BYTES; index++) sum[index] = (sum[index] ?? 0) ^ (hashed[index] ?? 0);
  }
}
