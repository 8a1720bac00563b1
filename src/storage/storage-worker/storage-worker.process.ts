/**
 * Performs its parent's requests on the files of one file system in a separate process, so that only this process hangs if the file system does. Exits with its
 * parent.
 */
import { messageOf } from '../../kernel/error-message.js';
import { errnoOf } from '../../lib/process/system-error.js';
import type { CallName, WorkerAnswer, WorkerRequest } from './worker-protocol.js';
import { DIRECT_CALLS } from './file-calls.js';

// A normal exit would wait for hanging calls.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
process.on('message', (message) => {
  const { id, call, args } = message as WorkerRequest; // sent by the one parent of this process
  const answer = (each: WorkerAnswer): boolean | undefined => process.send?.(each);
  // The arguments match the call: the parent took both from one typed call.
  const calls = DIRECT_CALLS as unknown as Record<CallName, (...all: readonly (string | number)[]) => Promise<unknown>>;
  calls[call](...args).then(
    (result) => answer({ id, ok: true, result }),
    (error: unknown) => {
      return answer({ id, ok: false, code: errnoOf(error), message: messageOf(error) });
    },
  );
});
