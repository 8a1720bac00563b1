import { closeSync, constants, fstatSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { messageOf } from '../../kernel/error-message.js';
import { GrowingTree, HASH_BYTES, leafHash } from '../../lib/ledger/merkle-tree.js';

/** Length of the blocks of a file that have a digest each; the last one may be shorter. */
export const DIGEST_BLOCK_BYTES = 4 * 1024 * 1024;
/** Ranges that a comparison names; further ones are only counted. */
const MAX_RANGES = 16;
/** Digests that are written at once. */
const BATCH = 2_048;

/** A part of a file. */
export interface ByteRange {
  readonly offset_bytes: number;
  readonly length_bytes: number;
}

/** The digests of a file's blocks, as a manifest describes them. */
export interface DigestList {
  /** Lower-case hex: the RFC 6962 root of the tree whose entries are the digests. */
  readonly root: string;
  readonly count: number;
}

/** How a file's blocks compare with a list of digests. */
export type BlockComparison =
  /** The list is not the one that was sealed, so it proves nothing. */
  | { readonly kind: 'list_unusable'; readonly detail: string }
  | {
      readonly kind: 'compared';
      readonly blocks_differing: number;
      /** Adjacent blocks are one range; at most the first 16 ranges. */
      readonly differing: readonly ByteRange[];
    };

export function blocksOf(fileBytes: number): number {
  return Math.ceil(fileBytes / DIGEST_BLOCK_BYTES);
}

/** Length of the list of a file of this length. */
export function digestListBytes(fileBytes: number): number {
  return blocksOf(fileBytes) * HASH_BYTES;
}

/** Writes the list while the file is hashed: 32 bytes a block. The caller makes it durable. */
export class DigestListWriter {
  private readonly file: number;
  private readonly tree = new GrowingTree();
  private waiting: Uint8Array[] = [];

  /** Replaces what an interrupted run has left there. */
  constructor(path: string) {
    rmSync(path, { force: true });
    this.file = openSync(path, 'wx', 0o444);
  }

  add(digest: Uint8Array): void {
    this.tree.append(leafHash(digest));
    this.waiting.push(digest);
    if (this.waiting.length === BATCH) this.flush();
  }

  finish(): DigestList {
    this.flush();
    return { root: this.tree.root().toString('hex'), count: this.tree.size };
  }

  close(): void {
    closeSync(this.file);
  }

  private flush(): void {
    const bytes = Buffer.concat(this.waiting);
    for (let written = 0; written < bytes.length;) written += writeSync(this.file, bytes, written);
    this.waiting = [];
  }
}

/** Compares the blocks of a file with the list that was sealed. The list is checked against its root before it is used. */
export class DigestListComparison {
  private readonly list: Buffer | null;
  private readonly problem: string;
  private readonly differing: { offset_bytes: number; length_bytes: number }[] = [];
  private count = 0;

  constructor(path: string, { root, count }: DigestList) {
    const read = readSealedList(path, count * HASH_BYTES, root);
    this.list = typeof read === 'string' ? null : read;
    this.problem = typeof read === 'string' ? read : '';
  }

  /** In the order of the blocks. @param length of the block in bytes */
  add(block: number, digest: Uint8Array, length: number): void {
    if (this.list === null) return;
    if (this.list.subarray(block * HASH_BYTES, (block + 1) * HASH_BYTES).equals(digest)) return;
    this.count += 1;
    const offset = block * DIGEST_BLOCK_BYTES;
    const last = this.differing.at(-1);
    if (last !== undefined && last.offset_bytes + last.length_bytes === offset) last.length_bytes += length;
    else if (this.differing.length < MAX_RANGES) this.differing.push({ offset_bytes: offset, length_bytes: length });
  }

  finish(): BlockComparison {
    if (this.list === null) return { kind: 'list_unusable', detail: this.problem };
    return { kind: 'compared', blocks_differing: this.count, differing: this.differing };
  }
}

/** Root of a list of digests, lower-case hex. */
function rootOf(list: Buffer): string {
  const tree = new GrowingTree();
  for (let at = 0; at < list.length; at += HASH_BYTES) tree.append(leafHash(list.subarray(at, at + HASH_BYTES)));
  return tree.root().toString('hex');
}

/**
 * Reads a list and proves it by its root.
 * @param length of the list in bytes
 * @returns the list, or why it proves nothing
 */
export function readSealedList(path: string, length: number, root: string): Buffer | string {
  const read = readList(path, length);
  if (typeof read === 'string' || rootOf(read) === root) return read;
  return 'it was altered: its root is not the one in the manifest';
}

/** @returns the list, or why there is none */
function readList(path: string, length: number): Buffer | string {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    return `it cannot be opened: ${messageOf(error)}`;
  }
  try {
    const stats = fstatSync(file);
    if (!stats.isFile()) return 'it is not a regular file';
    if (stats.size !== length) return `it has ${stats.size} bytes instead of ${length}`;
    const list = Buffer.allocUnsafe(length);
    let filled = 0;
    for (let bytes = -1; filled < length && bytes !== 0; filled += bytes) bytes = readSync(file, list, filled, length - filled, filled);
    return list.subarray(0, filled);
  } catch (error) {
    return `it cannot be read: ${messageOf(error)}`;
  } finally {
    closeSync(file);
  }
}
