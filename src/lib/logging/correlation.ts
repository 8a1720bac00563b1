import { AsyncLocalStorage } from 'node:async_hooks';

const storage = new AsyncLocalStorage<string>();

/** Everything that `work` does, also later in its promises and timers, is logged with this correlation id. */
export function runWithCorrelation<Result>(correlationId: string, work: () => Result): Result {
  return storage.run(correlationId, work);
}

/** null outside of runWithCorrelation. */
export function currentCorrelationId(): string | null {
  return storage.getStore() ?? null;
}
