import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import type pg from 'pg';
import type { DataSource } from 'typeorm';
import { eventToAppend } from '../../../../test/contracts/event-store.contract.js';
import { EventStoreDbStandIn } from '../../../../test/support/eventstoredb-stand-in.js';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/postgres.js';
import { Clock } from '../../../lib/clock/clock.js';
import { copyEvents } from '../event-copy/copy-events.js';
import { EventStoreDbCopyTarget } from '../event-copy/eventstoredb-copy-target.js';
import { createPool, openDataSource } from '../postgres/postgres.module.js';
import type { Projection } from '../postgres/projection-definition.js';
import { Projections } from '../postgres/projections.js';
import { readModel, type RowOf, text } from '../postgres/read-model-definition.js';
import { ReadModels } from '../postgres/read-models.js';
import type { EventStore } from './event-store.port.js';
import { EventStoreDbEventStore } from './eventstoredb/eventstoredb-event-store.js';
import { openEventStoreDb } from './eventstoredb/open-eventstoredb.js';
import { requireHistory } from './history-witness.js';
import { PostgresEventStore } from './postgres-event-store.js';

const silent = { log: () => undefined, warn: () => undefined };
const PATIENCE_MS = 15_000;

const things = readModel({ name: 'things', key: 'name', columns: { name: text() } });
const projection: Projection<RowOf<typeof things>> = {
  ...things.definition,
  categories: ['thing'],
  keys: ({ stream }) => [stream],
  fold: (_, { stream }) => ({ name: stream }),
};

describe('read models in front of another event store', () => {
  const errors: string[] = [];
  const servers: EventStoreDbStandIn[] = [];
  const stores: EventStoreDbEventStore[] = [];
  let database: TestDatabase;
  let pool: pg.Pool;
  let dataSource: DataSource;
  let postgres: PostgresEventStore;

  beforeEach(async () => {
    const ignore = (): void => undefined;
    Logger.overrideLogger({ log: ignore, warn: ignore, error: (message: unknown) => errors.push(String(message)) });
    database = await createTestDatabase();
    dataSource = await openDataSource(database.databaseUrl, [things]);
    pool = createPool(database.databaseUrl, 4);
    postgres = new PostgresEventStore(pool, silent);
  });
  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close();
    for (const server of servers.splice(0)) server.stop();
    await postgres.close();
    await pool.end();
    await dataSource.destroy();
    await database.drop();
    expect(errors.splice(0)).toEqual([]);
  });

  async function eventStoreDb(): Promise<EventStoreDbEventStore> {
    const server = await EventStoreDbStandIn.start();
    const store = new EventStoreDbEventStore({ url: server.url, caFile: '' }, silent);
    servers.push(server);
    stores.push(store);
    return store;
  }

  const openLast = (): Promise<EventStoreDbEventStore> => openEventStoreDb({ url: servers.at(-1)?.url ?? '', caFile: '' }, pool, silent);

  const add = (store: EventStore, ...names: readonly string[]): Promise<unknown> =>
    Promise.all(names.map((name) => store.append(`thing-${name}`, 'no_stream', [eventToAppend('Made', { text: name })])));

  /** Runs the projection until it has folded everything. @returns its generation, and its rows */
  async function project(store: EventStore): Promise<{ generation: number; names: string }> {
    const readModels = new ReadModels(store);
    const projections = new Projections(store, dataSource, readModels, new Clock(), [projection], randomUUID());
    await projections.start();
    try {
      for (const ends = performance.now() + PATIENCE_MS; performance.now() < ends;) {
        await pause(20);
        const [status] = await projections.statuses();
        if (status === undefined || status.position !== status.head || status.rebuild !== null) continue;
        const rows: { name: string }[] = await dataSource.query('select name from read_models.things order by name');
        return { generation: status.generation, names: rows.map(({ name }) => name.slice('thing-'.length)).join(' ') };
      }
      throw new Error(`the projection did not catch up: ${JSON.stringify(await projections.statuses())}`);
    } finally {
      await projections.stop();
    }
  }

  it('are rebuilt after each move, whichever store has the larger positions', async () => {
    await add(postgres, 'a', 'b');
    expect(await project(postgres)).toEqual({ generation: 1, names: 'a b' });
    const first = await eventStoreDb();
    await copyEvents(postgres, new EventStoreDbCopyTarget(first));
    await (await openLast()).close();
    await add(first, 'c');
    expect(await project(first)).toEqual({ generation: 2, names: 'a b c' });
    const second = await eventStoreDb();
    await copyEvents(first, new EventStoreDbCopyTarget(second));
    await (await openLast()).close();
    expect(await project(second)).toEqual({ generation: 3, names: 'a b c' });
    expect(await project(second)).toEqual({ generation: 3, names: 'a b c' });
    // And back, where positions are smaller.
    await add(postgres, 'd');
    expect(await project(postgres)).toEqual({ generation: 4, names: 'a b d' });
  });

  it('are not used with a store that holds nothing of their history', async () => {
    const first = await eventStoreDb();
    await add(first, 'a', 'b');
    await project(first);
    await eventStoreDb();
    await expect(openLast()).rejects.toThrow(/does not hold the history of this hub/);
    const [, other] = stores;
    if (other !== undefined) await add(other, 'b', 'c');
    await expect(openLast()).rejects.toThrow(/does not hold the history of this hub.*of stream thing-/);
    await expect(requireHistory(postgres, pool, 'PostgreSQL')).rejects.toThrow(/^PostgreSQL does not hold the history/);
  });

  it('are rebuilt if the newest events were lost, as with a server that was restored from a backup', async () => {
    const first = await eventStoreDb();
    await add(first, 'a');
    const restored = await eventStoreDb();
    await copyEvents(first, new EventStoreDbCopyTarget(restored));
    await add(first, 'b');
    expect(await project(first)).toEqual({ generation: 1, names: 'a b' });
    await add(restored, 'c', 'd');
    expect(await project(restored)).toEqual({ generation: 2, names: 'a c d' });
  });
});
