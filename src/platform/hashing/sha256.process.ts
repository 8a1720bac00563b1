/** Hashes one file after the other for its parent, and ends with it. */
import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { setPriority } from 'node:os';
import { messageOf } from '../../kernel/error-message.js';
import { errnoOf } from '../process/system-error.js';

/** One file to hash. */
export interface HashTask {
  readonly path: string;
}

/** `read`: so far, so that one that hangs is told from one that takes long. */
export type HashAnswer = { readonly read: number } | { readonly sha256: string } | { readonly error: { readonly message: string; readonly code: string } };

const READ_BYTES = 1024 * 1024;
/** How often it tells how far it is, in milliseconds. */
const TELL_MS = 1_000;
const BACKGROUND_NICENESS = 5;
const buffer = Buffer.allocUnsafe(READ_BYTES);

// Hashing must not slow down the program that answers people.
setPriority(BACKGROUND_NICENESS);

process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
process.on('message', (message) => {
  const { path } = message as HashTask; // sent by the one parent of this process
  tell(answer(path));
});

function tell(what: HashAnswer): void {
  process.send?.(what);
}

function answer(path: string): HashAnswer {
  try {
    return { sha256: hash(path) };
  } catch (error) {
    return { error: { message: messageOf(error), code: errnoOf(error) ?? 'unknown' } };
  }
}

function hash(path: string): string {
  // A link or a pipe in the place of a file is not followed and not waited for.
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const hash = createHash('sha256');
    let toldMs = performance.now();
    for (let read = 0; ;) {
      const length = readSync(file, buffer, 0, READ_BYTES, null);
      if (length === 0) return hash.digest('hex');
      hash.update(buffer.subarray(0, length));
      read += length;
      if (performance.now() - toldMs < TELL_MS) continue;
      toldMs = performance.now();
      tell({ read });
    }
  } finally {
    closeSync(file);
  }
}
