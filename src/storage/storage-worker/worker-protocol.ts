import type { FileCalls } from './file-calls.js';

export type CallName = keyof FileCalls;

/** A request to the storage worker's process. */
export type WorkerRequest = { readonly id: number; readonly call: CallName; readonly args: readonly (string | number)[] };

export type WorkerAnswer =
  | { readonly id: number; readonly ok: true; readonly result: unknown }
  /** code: the system error code, such as ENOENT; null for any other error. */
  | { readonly id: number; readonly ok: false; readonly code: string | null; readonly message: string };
