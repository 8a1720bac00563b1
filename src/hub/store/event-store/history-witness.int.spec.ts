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
import type { EventStore, EventToAppend } from './event-store.port.js';
import { EventStoreDbEventStore } from './eventstoredb/eventstoredb-event-store.js';
import { openEventStoreDb } from './eventstoredb/open-eventstoredb.js';
import { requireHistory } from './history-witness.js';
import { PostgresEventStore } from './postgres-event-store.js';

const silent = { log: () => undefined, warn: () => undefined };
const PATIENCE_MS = 15_000;

const namesOf = (name: string) => readModel({ name, key: 'name', columns: { name: text() } });
const NAMES = ['things', 'others'] as const;
const projections = NAMES.map((name): Projection<RowOf<ReturnType<typeof namesOf>>> => ({
  ...namesOf(name).definition,
  categories: [name.slice(0, -1)],
  keys: ({ stream }) => [stream],
  fold: (_, { stream }) => ({ name: stream }),
}));

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
    dataSource = await openDataSource(database.databaseUrl, NAMES.map(namesOf));
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

  const made = (name: string): EventToAppend => eventToAppend('Made', { text: name });

  const add = (store: EventStore, ...streams: readonly string[]): Promise<unknown> =>
    Promise.all(streams.map((stream) => store.append(stream, 'no_stream', [made(stream)])));

  /** Runs the projections until they have folded everything. @returns generation and rows of each */
  async function project(store: EventStore): Promise<readonly string[]> {
    const running = new Projections(store, dataSource, new ReadModels(store), new Clock(), projections, randomUUID());
    await running.start();
    try {
      for (const ends = performance.now() + PATIENCE_MS; performance.now() < ends;) {
        await pause(20);
        const statuses = await running.statuses();
        if (!statuses.every(({ position, head, rebuild }) => position === head && rebuild === null)) continue;
        return await Promise.all(
          statuses.map(async ({ name, generation }) => {
            const rows: { name: string }[] = await dataSource.query(`select name from read_models.${name} order by name`);
            return [`${generation}:`, ...rows.map((row) => row.name)].join(' ');
          }),
        );
      }
      throw new Error(`the projections did not catch up: ${JSON.stringify(await running.statuses())}`);
    } finally {
      await running.stop();
    }
  }

  it('are rebuilt after each move, whichever store has the larger positions', async () => {
    await add(postgres, 'thing-a', 'thing-b', 'other-x');
    expect(await project(postgres)).toEqual(['1: thing-a thing-b', '1: other-x']);
    const first = await eventStoreDb();
    await copyEvents(postgres, new EventStoreDbCopyTarget(first));
    await (await openLast()).close();
    await add(first, 'thing-c');
    expect(await project(first)).toEqual(['2: thing-a thing-b thing-c', '2: other-x']);
    const second = await eventStoreDb();
    await copyEvents(first, new EventStoreDbCopyTarget(second));
    await (await openLast()).close();
    // The stand-in puts the copy of other-x where the original is, so those rows are right.
    expect(await project(second)).toEqual(['3: thing-a thing-b thing-c', '2: other-x']);
    expect(await project(second)).toEqual(['3: thing-a thing-b thing-c', '2: other-x']);
    // And back, where positions are smaller.
    await add(postgres, 'thing-d');
    expect(await project(postgres)).toEqual(['4: thing-a thing-b thing-d', '3: other-x']);
  });

  it('are not used with a store that holds nothing of their history', async () => {
    const first = await eventStoreDb();
    await add(first, 'thing-a', 'other-x');
    await project(first);
    const other = await eventStoreDb();
    await expect(openLast()).rejects.toThrow(/does not hold the history of this hub/);
    await add(other, 'thing-a', 'other-x');
    await expect(openLast()).rejects.toThrow(/does not hold the history of this hub.*of stream other-x/);
    await expect(requireHistory(postgres, pool, 'PostgreSQL')).rejects.toThrow(/^PostgreSQL does not hold the history/);
  });

  it('are rebuilt if their newest events were lost with a restored server, and the others miss nothing that it stored instead', async () => {
    const [first, restored] = [await eventStoreDb(), await eventStoreDb()];
    const kept = made('thing-a');
    for (const store of [first, restored]) await store.append('thing-a', 'no_stream', [kept]);
    expect(await project(first)).toEqual(['1: thing-a', '1:']);
    await add(first, 'other-x', 'other-y', 'other-z');
    expect(await project(first)).toEqual(['1: thing-a', '1: other-x other-y other-z']);
    // Where the lost events were, behind which the checkpoint of the things stands.
    await add(restored, 'thing-b', 'thing-c', 'other-x');
    expect(await project(restored)).toEqual(['1: thing-a thing-b thing-c', '2: other-x']);
  });
});
