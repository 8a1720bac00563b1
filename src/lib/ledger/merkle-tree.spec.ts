import { describe, expect, it } from '@jest/globals';
import { EMPTY_ROOT, GrowingTree, leafHash, splitOf, verifyConsistency, verifyInclusion } from './merkle-tree.js';
import { appendLeaves, TiledTree } from './tiles.js';

// The tree of the reference tests of Certificate Transparency: leaves, and the root at each size, as others publish them.
const LEAVES = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'].map((hex) => Buffer.from(hex, 'hex'));
const ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];
const PROOFS_OF_INCLUSION = [
  { index: 0, size: 1, proof: [] },
  {
    index: 0,
    size: 8,
    proof: [
      '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
    ],
  },
  {
    index: 5,
    size: 8,
    proof: [
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ],
  },
  { index: 2, size: 3, proof: ['fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125'] },
];
const PROOFS_OF_CONSISTENCY = [
  { from: 1, to: 1, proof: [] },
  {
    from: 1,
    to: 8,
    proof: [
      '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
    ],
  },
  {
    from: 6,
    to: 8,
    proof: [
      '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ],
  },
];

const hex = (hashes: readonly Buffer[]): string[] => hashes.map((hash) => hash.toString('hex'));
const bytes = (hashes: readonly string[]): Buffer[] => hashes.map((hash) => Buffer.from(hash, 'hex'));
const rootAt = (size: number): Buffer => Buffer.from(ROOTS[size] ?? '', 'hex');

/** The tree of the given leaves, from its tiles. */
function treeOf(leaves: readonly Buffer[]): TiledTree {
  const tiles = new Map(appendLeaves([], leaves).map(({ level, index, hashes }) => [`${level}/${index}`, hashes]));
  return new TiledTree(leaves.length, (level, index) => Promise.resolve(tiles.get(`${level}/${index}`) ?? Buffer.alloc(0)));
}

describe('the Merkle tree', () => {
  it('has the roots of RFC 6962, whether it grows leaf by leaf or is read from tiles', async () => {
    const growing = new GrowingTree();
    expect(growing.root()).toEqual(EMPTY_ROOT);
    for (const [index, leaf] of LEAVES.entries()) {
      growing.append(leafHash(leaf));
      expect(growing.root().toString('hex')).toBe(ROOTS[index + 1]);
      expect((await treeOf(LEAVES.slice(0, index + 1).map(leafHash)).root()).toString('hex')).toBe(ROOTS[index + 1]);
    }
  });

  it.each(PROOFS_OF_INCLUSION)('proves leaf $index of $size as others do', async ({ index, size, proof }) => {
    expect(hex(await treeOf(LEAVES.slice(0, size).map(leafHash)).inclusionProof(index))).toEqual(proof);
    const leaf = leafHash(LEAVES[index] ?? Buffer.alloc(0));
    expect(verifyInclusion(leaf, index, size, bytes(proof), rootAt(size))).toBe(true);
    expect(verifyInclusion(leaf, index, size, [...bytes(proof), leaf], rootAt(size))).toBe(false);
    expect(verifyInclusion(leaf, index, size + 1, bytes(proof), rootAt(size + 1))).toBe(false);
  });

  it.each(PROOFS_OF_CONSISTENCY)('proves that $to leaves continue $from as others do', async ({ from, to, proof }) => {
    expect(hex(await treeOf(LEAVES.slice(0, to).map(leafHash)).consistencyProof(from))).toEqual(proof);
    expect(verifyConsistency(from, to, rootAt(from), rootAt(to), bytes(proof))).toBe(true);
    expect(verifyConsistency(from, to, rootAt(from + 1), rootAt(to), bytes(proof))).toBe(false);
    expect(verifyConsistency(from, to, rootAt(from), rootAt(to), [...bytes(proof), rootAt(1)])).toBe(false);
  });

  it('proves every leaf and every earlier size, across levels of tiles, and nothing else', async () => {
    const leaves = Array.from({ length: 70_000 }, (_, index) => leafHash(Buffer.from(String(index))));
    const growing = new GrowingTree();
    const sizes = [1, 2, 255, 256, 257, 4_095, 65_535, 65_536, 65_537, 69_999, 70_000];
    const roots = new Map<number, Buffer>();
    for (const [index, leaf] of leaves.entries()) {
      growing.append(leaf);
      if (sizes.includes(index + 1)) roots.set(index + 1, growing.root());
    }
    const tree = treeOf(leaves);
    const root = await tree.root();
    expect(root).toEqual(growing.root());
    for (const size of sizes) {
      const at = roots.get(size) ?? Buffer.alloc(0);
      expect(verifyConsistency(size, tree.size, at, root, await tree.consistencyProof(size))).toBe(true);
      const index = size - 1;
      const leaf = await tree.leaf(index);
      const proof = await tree.inclusionProof(index);
      expect(leaf).toEqual(leaves[index]);
      expect(verifyInclusion(leaf, index, tree.size, proof, root)).toBe(true);
      expect(verifyInclusion(leaf, (index + 1) % tree.size, tree.size, proof, root)).toBe(false);
    }
  });

  it('splits at the largest power of two below its size', () => {
    expect([2, 3, 4, 5, 8, 9].map(splitOf)).toEqual([1, 2, 2, 4, 4, 8]);
  });
});
