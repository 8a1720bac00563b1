import type { Pool } from 'pg';
import { messageOf } from '../../../../kernel/error-message.js';
import { retry } from '../../../../lib/concurrency/retry.js';
import { requireWhole } from '../copy-state.js';
import { requireHistory } from '../history-witness.js';
import { fetchHead } from '../event-rows.js';
import { EventStoreUnavailableError } from '../event-store.port.js';
import type { StoreLog } from '../store-log.js';
import { EventStoreDbConnection, type EventStoreDbOptions, type ServerFacts } from './eventstoredb-connection.js';
import { EventStoreDbEventStore } from './eventstoredb-event-store.js';

const RETRY_MS = 500;
/** Interval between log lines while the server cannot be used. */
const LOG_MS = 5_000;
/** The first release that reports to a subscription that it has caught up. */
const OLDEST = [23, 10] as const;

/**
 * Opens the store, and waits without limit for a server that cannot be used yet, because a signal can stop the hub.
 * @throws Error if the server is too old, its history is half a copy or another one, or the events of this hub are in PostgreSQL
 */
export async function openEventStoreDb(options: EventStoreDbOptions, pool: Pool, log: StoreLog): Promise<EventStoreDbEventStore> {
  const store = new EventStoreDbEventStore(options, log);
  let loggedAtMs = -Infinity;
  const onFailure = (error: unknown): void => {
    if (!(error instanceof EventStoreUnavailableError)) throw error;
    if (performance.now() - loggedAtMs < LOG_MS) return;
    loggedAtMs = performance.now();
    log.warn(`startup is waiting for the event store: ${messageOf(error)}`);
  };
  try {
    await retry(
      async () => {
        const { version } = await store.facts();
        if (isTooOld(version)) throw new Error(`EventStoreDB at ${store.name} is version ${version}, but must be ${OLDEST.join('.')} or newer; upgrade it`);
        if ((await store.head()) === null && (await fetchHead(pool)) !== null) {
          throw new Error(
            `EventStoreDB at ${store.name} is empty, but the events of this hub are in PostgreSQL; copy them with "sendense events copy", or set event_store: postgres`,
          );
        }
        requireWhole(await store.copyState(), `EventStoreDB at ${store.name}`);
        await requireHistory(store, pool, `EventStoreDB at ${store.name}`);
        log.log(`the events are in EventStoreDB ${version} at ${store.name}`);
      },
      { firstMs: RETRY_MS, onFailure },
    );
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** For `sendense validate`: also reads, which needs the credentials. @throws EventStoreUnavailableError; RangeError; errors of `fs` */
export async function inspectEventStoreDb(options: EventStoreDbOptions): Promise<ServerFacts & { readonly name: string }> {
  const connection = new EventStoreDbConnection(options);
  try {
    const facts = await connection.facts();
    await connection.newest(null);
    return { ...facts, name: connection.name };
  } finally {
    await connection.close();
  }
}

/** @param version such as `23.10.6.0` */
export function isTooOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]);
}
