/** Hashes files for its parent, one after another, and exits with it. */
import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { messageOf } from '../../kernel/error-message.js';
import { errnoOf } from '../../lib/process/system-error.js';
import { Qcow2UnreadableError } from '../../lib/qemu/qcow2-clusters.reader.js';
import { type ContentTask, StoredContent } from './stored-content.js';

/** One file to hash. */
export interface HashTask {
  readonly path: string;
  /** null: not a QCOW2 file, or its content digest is not needed. */
  readonly content: ContentTask | null;
}

/** Of one file. */
export interface FileHashes {
  /** Of the whole file, lower-case hex. */
  readonly sha256: string;
  /** The requested ContentDigest; null: none was requested. */
  readonly content_digest: string | null;
}

/** `read`: bytes so far, to distinguish a hanging process from a slow one. */
export type HashAnswer = { readonly read: number } | { readonly hashes: FileHashes } | { readonly error: { readonly message: string; readonly code: string } };

/** Large enough that read boundaries rarely split a disk block, whose first part is then read twice. */
const READ_BYTES = 4 * 1024 * 1024;
/** Interval of progress reports, in milliseconds. */
const TELL_MS = 1_000;
/** Added to the niceness of the parent: an absolute value below it would be refused without CAP_SYS_NICE. */
const BACKGROUND_NICENESS = 5;
const HIGHEST_NICENESS = 19;
const buffer = Buffer.allocUnsafe(READ_BYTES);

// Hashing must not slow down the program that serves users.
setPriority(Math.min(getPriority() + BACKGROUND_NICENESS, HIGHEST_NICENESS));

process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
process.on('message', (message) => {
  tell(answer(message as HashTask)); // sent by the one parent of this process
});

function tell(what: HashAnswer): void {
  process.send?.(what);
}

function answer(task: HashTask): HashAnswer {
  try {
    return { hashes: hash(task) };
  } catch (error) {
    const code = error instanceof Qcow2UnreadableError ? 'qcow2_unreadable' : (errnoOf(error) ?? 'unknown');
    return { error: { message: messageOf(error), code } };
  }
}

function hash({ path, content }: HashTask): FileHashes {
  // Does not follow a link, or wait for a pipe, in place of a file.
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const hash = createHash('sha256');
    const stored = content === null ? null : new StoredContent(file, content);
    let toldMs = performance.now();
    for (let read = 0; ;) {
      const window = fill(file, read);
      if (window.length === 0) return { sha256: hash.digest('hex'), content_digest: stored?.result ?? null };
      hash.update(window);
      stored?.onBytes(read, window);
      read += window.length;
      if (performance.now() - toldMs < TELL_MS) continue;
      toldMs = performance.now();
      tell({ read });
    }
  } finally {
    closeSync(file);
  }
}

/** The whole buffer, except at the end of the file. */
function fill(file: number, position: number): Buffer {
  let filled = 0;
  for (let bytes = -1; filled < READ_BYTES && bytes !== 0; filled += bytes) bytes = readSync(file, buffer, filled, READ_BYTES - filled, position + filled);
  return buffer.subarray(0, filled);
}
