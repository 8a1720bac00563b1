import { setTimeout as pause } from 'node:timers/promises';

/** Share of a pause that is random, so that many retries after one failure do not come at once. */
const JITTER = 0.2;

export interface RetryOptions {
  /** Ends the retries: the promise rejects with its reason. Work under way is awaited. */
  readonly signal?: AbortSignal;
  /** Milliseconds before the first retry; each further pause is twice as long. */
  readonly firstMs: number;
  /** Longest pause in milliseconds; by default every pause is `firstMs`. */
  readonly longestMs?: number;
  /** Called after every failure; gives up if it throws. */
  readonly onFailure?: (error: unknown) => void;
}

/** Repeats work until it succeeds. @throws the reason of `signal`; errors of `onFailure` */
export async function retry<Result>(work: () => Promise<Result>, { signal, firstMs, longestMs = firstMs, onFailure }: RetryOptions): Promise<Result> {
  for (let pauseMs = firstMs; ; pauseMs = Math.min(pauseMs * 2, longestMs)) {
    signal?.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      signal?.throwIfAborted();
      onFailure?.(error);
    }
    await pause(pauseMs * (1 - JITTER * Math.random()), undefined, { signal }).catch(() => signal?.throwIfAborted());
  }
}
