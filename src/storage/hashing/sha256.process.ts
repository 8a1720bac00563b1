/** Hashes files for its parent, one after another. */
import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { messageOf } from '../../kernel/error-message.js';
import { serveParent } from '../../lib/process/serve-parent.js';
import { errnoOf } from '../../lib/process/system-error.js';
import { Qcow2UnreadableError } from '../../lib/qemu/qcow2-clusters.reader.js';
import { type BlockComparison, DIGEST_BLOCK_BYTES, type DigestList, DigestListComparison, DigestListWriter } from './block-digests.js';
import { type ContentTask, StoredContent } from './stored-content.js';

/** The list of digests to write or to compare with. */
export type BlockTask = { readonly kind: 'write'; readonly path: string } | { readonly kind: 'compare'; readonly path: string; readonly sealed: DigestList };

/** One file to hash. */
export interface HashTask {
  readonly path: string;
  /** null: not a QCOW2 file, or its content digest is not needed. */
  readonly content: ContentTask | null;
  /** null: the blocks are not hashed by themselves. */
  readonly blocks: BlockTask | null;
}

/** Of one file. */
export interface FileHashes {
  /** Of the whole file, lower-case hex. */
  readonly sha256: string;
  /** The requested ContentDigest; null: none was requested. */
  readonly content_digest: string | null;
  /** The list that was written; null: none was requested. */
  readonly written: DigestList | null;
  /** null: none was requested. */
  readonly compared: BlockComparison | null;
}

/** Large enough that read boundaries rarely split a disk block, whose first part is then read twice. Each window is a block that has a digest. */
const READ_BYTES = DIGEST_BLOCK_BYTES;
/** Interval of progress reports, in milliseconds. */
const TELL_MS = 1_000;
/** Added to the niceness of the parent: an absolute value below it would be refused without CAP_SYS_NICE. */
const BACKGROUND_NICENESS = 5;
const HIGHEST_NICENESS = 19;
const buffer = Buffer.allocUnsafe(READ_BYTES);

// Hashing must not slow down the program that serves users.
setPriority(Math.min(getPriority() + BACKGROUND_NICENESS, HIGHEST_NICENESS));

serveParent(
  (task, onRead) => hash(task as HashTask, onRead), // sent by FileHasher
  (error) => {
    const code = error instanceof Qcow2UnreadableError ? 'qcow2_unreadable' : errnoOf(error);
    return { code, message: messageOf(error) };
  },
);

/** @param onRead reports the bytes so far, to distinguish a hanging process from a slow one */
async function hash({ path, content, blocks }: HashTask, onRead: (bytes: number) => void): Promise<FileHashes> {
  // Does not follow a link, or wait for a pipe, in place of a file.
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  let written: DigestListWriter | null = null;
  try {
    if (blocks?.kind === 'write') written = new DigestListWriter(blocks.path);
    const hash = createHash('sha256');
    const compared = blocks?.kind === 'compare' ? new DigestListComparison(blocks.path, blocks.sealed) : null;
    const stored = content === null ? null : new StoredContent(file, content);
    let toldMs = performance.now();
    for (let read = 0; ;) {
      const window = fill(file, read);
      if (window.length === 0) {
        return {
          sha256: hash.digest('hex'),
          content_digest: stored?.result ?? null,
          written: written?.finish() ?? null,
          compared: compared?.finish() ?? null,
        };
      }
      // Another thread computes it meanwhile.
      const digest = blocks === null ? null : digestOf(window);
      hash.update(window);
      stored?.onBytes(read, window);
      if (digest !== null) {
        const bytes = await digest;
        written?.add(bytes);
        compared?.add(read / READ_BYTES, bytes, window.length);
      }
      read += window.length;
      if (performance.now() - toldMs < TELL_MS) continue;
      toldMs = performance.now();
      onRead(read);
    }
  } finally {
    closeSync(file);
    written?.close();
  }
}

async function digestOf(block: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', block));
}

/** The whole buffer, except at the end of the file. */
function fill(file: number, position: number): Buffer<ArrayBuffer> {
  let filled = 0;
  for (let bytes = -1; filled < READ_BYTES && bytes !== 0; filled += bytes) bytes = readSync(file, buffer, filled, READ_BYTES - filled, position + filled);
  return buffer.subarray(0, filled);
}
