import { createHash, generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { originOf } from '../../src/lib/ledger/checkpoint.js';
import { DIGEST_BLOCK_BYTES, DigestListWriter } from '../../src/storage/hashing/block-digests.js';
import { blocksFileOf, type Manifest, type ManifestBlocks } from '../../src/storage/repository-files/manifest.js';
import { type ManifestSigner, manifestSigner } from '../../src/storage/repository-files/manifest-signature.js';

/** What a manifest of format 2 has besides that of format 1, of a restore point without anything special. */
export const FORMAT_2 = {
  signing_key: null,
  encryption: null,
  tools: { sendense: '0.0.0', qemu_img: '7.2.0' },
  tiers: [],
  locked_until: null,
  rewrites: [],
} as const satisfies Partial<Manifest>;

/** The same restore point as an earlier program has described it. */
export function asFormat1(manifest: object): object {
  return { ...manifest, format_version: 1 };
}

export function newSigner(hubId: string): ManifestSigner {
  return manifestSigner(originOf(hubId), generateKeyPairSync('ed25519').privateKey);
}

/** Writes the digests of a disk's file next to it. */
export function writeDigests(folder: string, file: string, content: string | Buffer): ManifestBlocks {
  const name = blocksFileOf(file);
  const writer = new DigestListWriter(join(folder, name));
  const bytes = Buffer.from(content);
  for (let at = 0; at < bytes.length; at += DIGEST_BLOCK_BYTES) {
    const block = bytes.subarray(at, at + DIGEST_BLOCK_BYTES);
    writer.add(createHash('sha256').update(block).digest());
  }
  const list = writer.finish();
  writer.close();
  return { file: name, block_bytes: DIGEST_BLOCK_BYTES, ...list };
}
