import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';

/** One file to hash; `stop` becomes 1 when nobody wants the answer any more. */
export interface HashTask {
  readonly path: string;
  readonly stop: Int32Array;
}

export type HashAnswer = { readonly sha256: string } | { readonly stopped: true } | { readonly error: { readonly message: string; readonly code: string } };

const READ_BYTES = 1024 * 1024;
const BACKGROUND_NICENESS = 5;
const buffer = Buffer.allocUnsafe(READ_BYTES);

// On Linux this is the priority of the calling thread alone: hashing must not slow down the thread that answers people.
setPriority(BACKGROUND_NICENESS);

parentPort?.on('message', (task: HashTask) => {
  parentPort?.postMessage(answer(task));
});

function answer(task: HashTask): HashAnswer {
  try {
    return hash(task);
  } catch (error) {
    const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown';
    return { error: { message: error instanceof Error ? error.message : String(error), code } };
  }
}

function hash(task: HashTask): HashAnswer {
  const file = openSync(task.path, 'r');
  try {
    const hash = createHash('sha256');
    for (;;) {
      if (Atomics.load(task.stop, 0) === 1) return { stopped: true };
      const length = readSync(file, buffer, 0, READ_BYTES, null);
      if (length === 0) return { sha256: hash.digest('hex') };
      hash.update(buffer.subarray(0, length));
    }
  } finally {
    closeSync(file);
  }
}
