import { hash } from 'node:crypto';

/** Bytes of a SHA-256 hash. */
export const HASH_BYTES = 32;

const LEAF_PREFIX = Buffer.from([0]);
const NODE_PREFIX = Buffer.from([1]);

/** Hash of a leaf (RFC 6962, section 2.1). */
export function leafHash(leaf: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([LEAF_PREFIX, leaf]), 'buffer');
}

/** Hash of an inner node (RFC 6962, section 2.1). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([NODE_PREFIX, left, right]), 'buffer');
}

/** Root of a tree without leaves. */
export const EMPTY_ROOT: Buffer = hash('sha256', '', 'buffer');

/** A tree of which only the roots of its complete subtrees are kept: memory grows with the logarithm of its size. */
export class GrowingTree {
  /** Subtrees from left (largest) to right; their sizes are the powers of two that add up to the size. */
  private readonly subtrees: { readonly size: number; readonly root: Buffer }[];
  private leaves: number;

  /** @param beginning a tree whose leaves this one has at first; default: none */
  constructor(beginning: GrowingTree | null = null) {
    this.subtrees = [...(beginning?.subtrees ?? [])];
    this.leaves = beginning?.leaves ?? 0;
  }

  get size(): number {
    return this.leaves;
  }

  /** @param leaf the hash of the leaf */
  append(leaf: Buffer): void {
    let grown = { size: 1, root: leaf };
    for (let last = this.subtrees.at(-1); last?.size === grown.size; last = this.subtrees.at(-1)) {
      this.subtrees.pop();
      grown = { size: 2 * grown.size, root: nodeHash(last.root, grown.root) };
    }
    this.subtrees.push(grown);
    this.leaves += 1;
  }

  root(): Buffer {
    return this.subtrees.length === 0 ? EMPTY_ROOT : this.subtrees.map(({ root }) => root).reduceRight((right, left) => nodeHash(left, right));
  }
}

/** The largest power of two below `size`, which is at least 2: where a tree of that size splits. */
export function splitOf(size: number): number {
  let split = 1;
  while (2 * split < size) split *= 2;
  return split;
}

/**
 * Checks that a leaf is the one at `index` in the tree with `root` (RFC 9162, section 2.1.3.2).
 * @param proof hashes from the leaf upwards
 */
export function verifyInclusion(leaf: Uint8Array, index: number, size: number, proof: readonly Uint8Array[], root: Uint8Array): boolean {
  if (!isSize(index) || !isSize(size) || index >= size || root.length !== HASH_BYTES) return false;
  let node = index;
  let last = size - 1;
  let reached: Buffer = Buffer.from(leaf);
  for (const sibling of proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      reached = nodeHash(sibling, reached);
      while (node % 2 === 0 && node !== 0) [node, last] = [node / 2, Math.floor(last / 2)];
    } else {
      reached = nodeHash(reached, sibling);
    }
    [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  }
  return last === 0 && reached.equals(root);
}

/** Checks that the tree of `newSize` begins with the leaves of the tree of `oldSize`, at least one (RFC 9162, section 2.1.4.2). */
export function verifyConsistency(oldSize: number, newSize: number, oldRoot: Uint8Array, newRoot: Uint8Array, proof: readonly Uint8Array[]): boolean {
  if (!isSize(oldSize) || !isSize(newSize) || oldSize === 0 || oldSize > newSize) return false;
  if (oldSize === newSize) return proof.length === 0 && Buffer.from(oldRoot).equals(newRoot);
  let node = oldSize - 1;
  let last = newSize - 1;
  while (node % 2 === 1) [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  // A complete old tree is itself the first node of the path.
  const [first, ...path] = node === 0 ? [oldRoot, ...proof] : proof;
  if (first === undefined) return false;
  let oldReached: Buffer = Buffer.from(first);
  let newReached = oldReached;
  for (const hashed of path) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      oldReached = nodeHash(hashed, oldReached);
      newReached = nodeHash(hashed, newReached);
      while (node % 2 === 0 && node !== 0) [node, last] = [node / 2, Math.floor(last / 2)];
    } else {
      newReached = nodeHash(newReached, hashed);
    }
    [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  }
  return last === 0 && oldReached.equals(oldRoot) && newReached.equals(newRoot);
}

function isSize(number: number): boolean {
  return Number.isSafeInteger(number) && number >= 0;
}
