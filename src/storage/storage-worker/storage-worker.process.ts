/** Performs its parent's requests on the files of one file system in a separate process, so that only this process hangs if the file system does. */
import { serveParent } from '../../lib/process/serve-parent.js';
import { type CallName, DIRECT_CALLS } from './file-calls.js';

// The arguments match the call: the parent took both from one typed call.
const calls = DIRECT_CALLS as unknown as Record<CallName, (...all: readonly (string | number | null)[]) => Promise<unknown>>;
serveParent((task) => {
  const { call, args } = task as { readonly call: CallName; readonly args: readonly (string | number | null)[] }; // sent by StorageWorker
  return calls[call](...args);
});
