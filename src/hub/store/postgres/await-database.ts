import { retry } from '../../../lib/concurrency/retry.js';
import { messageOf } from '../../../kernel/error-message.js';
import { isDatabaseAway } from './connection-errors.js';

const RETRY_MS = 500;
/** Interval between log lines while the database is unreachable. */
const LOG_MS = 5_000;

/**
 * Runs startup work that needs the database, and waits while it cannot be reached, as a running hub does: PostgreSQL may be starting, or recovering
 * after a crash. Waits without limit, because a signal can stop the hub. `work` is repeated from its beginning.
 * @throws errors of `work` that have any other reason
 */
export async function awaitDatabase<Result>(work: () => Promise<Result>, log: { warn(message: string): void }): Promise<Result> {
  let loggedAt = -Infinity;
  const onFailure = (error: unknown): void => {
    if (!isDatabaseAway(error)) throw error;
    if (performance.now() - loggedAt < LOG_MS) return;
    loggedAt = performance.now();
    log.warn(`startup is waiting for the database, which cannot be reached: ${messageOf(error)}`);
  };
  return retry(work, { firstMs: RETRY_MS, onFailure });
}
