import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../../kernel/error-message.js';
import { isDatabaseAway } from './connection-errors.js';

const RETRY_MS = 500;
/** Between two lines of the log while the database is away. */
const LOG_MS = 5_000;

/**
 * Does something at a start that needs the database, and waits for one that cannot be reached, as a running hub does: PostgreSQL may be starting, or recovering after a crash. For
 * ever, because whoever starts the hub ends it by a signal. `work` is repeated from its beginning.
 * @throws what `work` throws for any other reason
 */
export async function awaitDatabase<Result>(work: () => Promise<Result>, log: { warn(message: string): void }): Promise<Result> {
  let loggedAt = -Infinity;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isDatabaseAway(error)) throw error;
      if (performance.now() - loggedAt >= LOG_MS) {
        loggedAt = performance.now();
        log.warn(`the start waits for the database, which cannot be reached: ${messageOf(error)}`);
      }
      await pause(RETRY_MS);
    }
  }
}
