import { messageOf } from '../../kernel/error-message.js';
import { errnoOf } from './system-error.js';
import type { WorkerAnswer, WorkerFailure, WorkerRequest } from './worker-process.js';

/** Performs the tasks of the parent's WorkerProcess, concurrently if `perform` is asynchronous. This process exits with its parent. */
export function serveParent(
  perform: (task: unknown, onProgress: (progress: number) => void) => unknown,
  describe: (error: unknown) => WorkerFailure = (error) => ({ code: errnoOf(error), message: messageOf(error) }),
): void {
  const answer = (each: WorkerAnswer): boolean | undefined => process.send?.(each);
  // A normal exit would wait for hanging calls.
  process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
  process.on('message', (message) => {
    const { id, task } = message as WorkerRequest; // sent by the one parent of this process
    const result = new Promise<unknown>((resolve) => resolve(perform(task, (progress) => answer({ id, progress }))));
    result.then(
      (found) => answer({ id, ok: true, result: found }),
      (error: unknown) => answer({ id, ok: false, ...describe(error) }),
    );
  });
}
