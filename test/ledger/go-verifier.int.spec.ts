import { generateKeyPairSync } from 'node:crypto';
import { expect } from '@jest/globals';
import { originOf, signCheckpoint } from '../../src/lib/ledger/checkpoint.js';
import { leafHash } from '../../src/lib/ledger/merkle-tree.js';
import { verifierOf, verifierText } from '../../src/lib/ledger/signed-note.js';
import { appendLeaves, TiledTree } from '../../src/lib/ledger/tiles.js';
import { requireKernel } from '../support/require-tools.js';
import { goMissing, verifyWithGo } from './go-verifier.js';

const { describe, it } = requireKernel(goMissing());

describe('a verifier that others have written', () => {
  it('accepts our checkpoints and proofs, and refuses altered ones', async () => {
    const { privateKey } = generateKeyPairSync('ed25519');
    const origin = originOf('0199a3c0-0001-7000-8000-000000000001');
    const leaves = Array.from({ length: 1_000 }, (_, index) => `{"revision":${index}}`);
    const tiles = new Map(
      appendLeaves(
        [],
        leaves.map((leaf) => leafHash(Buffer.from(leaf))),
      ).map((tile) => [`${tile.level}/${tile.index}`, tile.hashes]),
    );
    const tree = (size: number): TiledTree => new TiledTree(size, (level, index) => Promise.resolve(tiles.get(`${level}/${index}`) ?? Buffer.alloc(0)));
    const signed = async (size: number): Promise<string> => signCheckpoint({ origin, size, root: await tree(size).root() }, privateKey);
    const base64 = (hashes: readonly Buffer[]): string[] => hashes.map((hash) => hash.toString('base64'));
    const question = {
      key: verifierText(verifierOf(origin, privateKey)),
      checkpoint: await signed(1_000),
      old_checkpoint: await signed(700),
      leaf: leaves[300] ?? '',
      index: 300,
      inclusion: base64(await tree(1_000).inclusionProof(300)),
      consistency: base64(await tree(1_000).consistencyProof(700)),
    };
    expect(await verifyWithGo(question)).toBe('verified 1000 leaves');
    await expect(verifyWithGo({ ...question, leaf: leaves[301] ?? '' })).rejects.toThrow('invalid transparency proof');
    await expect(verifyWithGo({ ...question, old_checkpoint: await signed(701) })).rejects.toThrow('invalid transparency proof');
    await expect(verifyWithGo({ ...question, checkpoint: question.checkpoint.replace('\n1000\n', '\n1001\n') })).rejects.toThrow('invalid signature');
  });
});
