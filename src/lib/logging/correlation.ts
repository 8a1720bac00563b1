import { AsyncLocalStorage } from 'node:async_hooks';

const storage = new AsyncLocalStorage<string>();

/** Logs everything that `work` does, including its later promises and timers, with this correlation id. */
export function runWithCorrelation<Result>(correlationId: string, work: () => Result): Result {
  return storage.run(correlationId, work);
}

/** null outside runWithCorrelation. */
export function currentCorrelationId(): string | null {
  return storage.getStore() ?? null;
}
