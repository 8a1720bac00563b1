import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import pg from 'pg';
import { EVENTS_IN_CATEGORIES_AFTER } from '../../src/hub/store/event-store/event-rows.js';
import { LocalPostgres } from '../../src/hub/store/postgres/local-postgres.js';
import { EventStoreUnavailableError } from '../../src/hub/store/event-store/event-store.port.js';
import { PostgresEventStore } from '../../src/hub/store/event-store/postgres-event-store.js';
import { createPool } from '../../src/hub/store/postgres/postgres.module.js';
import { createTestDatabase, migrate, type OwnPostgres, startOwnPostgres, type TestDatabase } from '../support/postgres.js';
import { Collector, eventStoreContract, eventToAppend, readAll } from './event-store.contract.js';
import { inLongProof } from '../support/long-proof.js';

jest.setTimeout(60_000);

const silent = { log: () => undefined, warn: () => undefined };

eventStoreContract('PostgreSQL', async () => {
  const database = await createTestDatabase();
  const pools = [createPool(database.databaseUrl, 6), createPool(database.databaseUrl, 6)] as const;
  const [store, another] = [new PostgresEventStore(pools[0], silent), new PostgresEventStore(pools[1], silent)];
  return {
    store,
    another,
    close: async () => {
      await Promise.all([store.close(), another.close()]);
      await Promise.all(pools.map((pool) => pool.end()));
      await database.drop();
    },
  };
});

describe('the event store in PostgreSQL, beyond the contract', () => {
  let database: TestDatabase;
  let pool: pg.Pool;
  let store: PostgresEventStore;

  beforeAll(async () => {
    database = await createTestDatabase();
    pool = createPool(database.databaseUrl);
    store = new PostgresEventStore(pool, silent);
  });

  afterAll(async () => {
    await store.close();
    await pool.end();
    await database.drop();
  });

  it.each(['commit', 'rollback'] as const)('gives out no position while another transaction that took one is open, until its %s', async (end) => {
    const start = await store.head();
    const collector = new Collector();
    const subscription = store.subscribeToAll({ after: start, handle: collector.handle });
    const foreign = await pool.connect();
    await foreign.query('begin');
    const held = eventToAppend('Held');
    await foreign.query('select * from event_store.append($1::jsonb)', [JSON.stringify([{ stream: `held-${randomUUID()}`, expected: 'any', events: [held] }])]);

    const events = Array.from({ length: 10 }, () => eventToAppend('Later'));
    const answered: string[] = [];
    const appends = events.map(async (event) => {
      await store.append(`later-${event.id}`, 'any', [event]);
      answered.push(event.id);
    });
    await untilWaitingForLock(pool);
    expect(answered).toEqual([]);
    expect(await store.head()).toBe(start);
    await foreign.query(end);
    foreign.release();
    await Promise.all(appends);
    const expected = end === 'commit' ? 11 : 10;
    await collector.until(() => collector.events.length >= expected);
    await subscription.close();
    expect(collector.events.map(({ id }) => id).sort()).toEqual([...(end === 'commit' ? [held.id] : []), ...events.map(({ id }) => id)].sort());
    if (end === 'commit') expect(collector.events[0]?.id).toBe(held.id);
    const positions = collector.events.map(({ position }) => BigInt(position));
    expect(positions).toEqual(positions.map((_, index) => BigInt(start ?? '0') + 1n + BigInt(index)));
  });

  it('misses nothing while transactions of others commit and roll back at random among many writers', async () => {
    const start = await store.head();
    const collector = new Collector();
    const subscription = store.subscribeToAll({ after: start, batchSize: 5, handle: collector.handle });
    const written: string[] = [];
    const foreigner = async (): Promise<void> => {
      for (let n = 0; n < 25; n++) {
        const client = await pool.connect();
        const event = eventToAppend('Foreign');
        await client.query('begin');
        await client.query('select * from event_store.append($1::jsonb)', [JSON.stringify([{ stream: 'foreign-1', expected: 'any', events: [event] }])]);
        await client.query('select pg_sleep(random() * 0.004)');
        const commit = n % 3 !== 0;
        await client.query(commit ? 'commit' : 'rollback');
        client.release();
        if (commit) written.push(event.id);
      }
    };
    const writer = async (w: number): Promise<void> => {
      for (let n = 0; n < 50; n++) {
        const event = eventToAppend('Own');
        await store.append(`own-${w}`, 'any', [event]);
        written.push(event.id);
      }
    };
    await Promise.all([foreigner(), foreigner(), ...Array.from({ length: 8 }, (_, w) => writer(w))]);
    await collector.until(() => collector.events.length >= written.length);
    await subscription.close();
    expect(collector.events.map(({ id }) => id).sort()).toEqual([...written].sort());
    const positions = collector.events.map(({ position }) => BigInt(position));
    expect(positions).toEqual(positions.map((_, index) => BigInt(start ?? '0') + 1n + BigInt(index)));
  });

  it('gives each of the appends that share a transaction its own outcome', async () => {
    const stream = `shared-${randomUUID()}`;
    await store.append(stream, 'no_stream', [eventToAppend('A')]);
    const outcomes = await Promise.allSettled([
      store.append(`${stream}-1`, 'no_stream', [eventToAppend('A')]),
      store.append(stream, 'no_stream', [eventToAppend('B')]),
      store.append(stream, 0, [eventToAppend('B')]),
      store.append(stream, 1, [eventToAppend('C')]),
      store.append(`${stream}-2`, 7, [eventToAppend('A')]),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled', 'rejected']);
  });

  inLongProof(() => {
    it('reads a rare category of a large store by the index, whatever the planner knows of it', async () => {
      const own = await createTestDatabase();
      const client = new pg.Client({ connectionString: own.databaseUrl });
      await client.connect();
      try {
        await client.query(
          `insert into event_store.events select n, category || '-' || n, 0, gen_random_uuid(), 'N', category, '{}', '{}', now()
             from (select n, case when n % 25000 = 0 then 'rare' else 'common' || n % 3 end as category from generate_series(1, 60000) n) made`,
        );
        await client.query('vacuum analyze event_store.events');
        await client.query(`prepare page (bigint, integer, text[]) as ${EVENTS_IN_CATEGORIES_AFTER}`);
        for (const mode of ['force_custom_plan', 'force_generic_plan']) {
          await client.query(`set plan_cache_mode = ${mode}`);
          for (const categories of [`{rare}`, `{rare,absent}`, `{common1,rare}`]) {
            const { rows } = await client.query<{ 'QUERY PLAN': readonly [{ readonly Plan: PlanNode }] }>(
              `explain (analyze, format json) execute page (0, 500, '${categories}')`,
            );
            const nodes = nodesOf(rows[0]?.['QUERY PLAN'][0].Plan);
            expect(nodes.map((node) => node['Index Name'])).toContain('events_category_position');
            expect(nodes.filter((node) => node['Node Type'] === 'Seq Scan')).toEqual([]);
            // What was read and thrown away, of the whole store.
            expect(Math.max(...nodes.map((node) => node['Rows Removed by Filter'] ?? 0))).toBeLessThan(1_000);
          }
        }
      } finally {
        await client.end();
        await own.drop();
      }
    });
  });

  it('keeps events from being changed or deleted', async () => {
    await store.append('kept-1', 'any', [eventToAppend('A')]);
    await expect(pool.query(`delete from event_store.events where stream = 'kept-1'`)).rejects.toThrow(/facts/);
    await expect(pool.query(`update event_store.events set type = 'B'`)).rejects.toThrow(/facts/);
  });
});

describe('the event store in PostgreSQL when the server goes away', () => {
  let own: OwnPostgres;
  let pool: pg.Pool;
  let store: PostgresEventStore;

  beforeEach(async () => {
    own = await startOwnPostgres();
    await migrate(own.databaseUrl);
    pool = createPool(own.databaseUrl);
    store = new PostgresEventStore(pool, silent);
  });

  afterEach(async () => {
    await store.close();
    await pool.end();
    await own.remove();
  });

  it('says that it is unavailable, and works again after a restart; subscriptions go on without missing an event', async () => {
    const collector = new Collector();
    const subscription = store.subscribeToAll({ after: null, handle: collector.handle });
    await store.append('away-1', 'no_stream', [eventToAppend('Before')]);
    await collector.until(() => collector.events.length === 1);

    await own.server.stop();
    const again = eventToAppend('After');
    await expect(store.append('away-1', 0, [again])).rejects.toBeInstanceOf(EventStoreUnavailableError);
    await expect(readAll(store, 'away-1')).rejects.toBeInstanceOf(EventStoreUnavailableError);
    await expect(store.head()).rejects.toBeInstanceOf(EventStoreUnavailableError);

    expect(await own.server.ensureStarted()).toMatchObject({ ownerUrl: own.databaseUrl });
    const other = createPool(own.databaseUrl);
    await new PostgresEventStore(other, silent).append('away-1', 0, [again]);
    await other.end();
    await collector.until(() => collector.events.length === 2);
    expect(await store.append('away-1', 0, [again])).toMatchObject({ revision: 1, idempotent: true });
    await subscription.close();
    await subscription.ended;
    expect(collector.events.map(({ type }) => type)).toEqual(['Before', 'After']);
  });

  inLongProof(() => {
    it('keeps order and positions when all rows are copied into a younger cluster, and goes on from there after a restart', async () => {
      // Transaction ids of the first cluster are driven up, so that anything that hung on them would hide the history in the second.
      for (let n = 0; n < 300; n++) await pool.query('select pg_current_xact_id()');
      for (let n = 0; n < 50; n++) await store.append(`copied-${n % 5}`, 'any', [eventToAppend('N', { n }), eventToAppend('Text', { text: `ä'\\\t\n${n}` })]);
      const before = new Collector();
      const old = store.subscribeToAll({ after: null, handle: before.handle });
      await before.until(() => before.events.length === 100);
      await old.close();

      const directory = await mkdtemp(join(tmpdir(), 'sendense-young-postgres-'));
      const young = new LocalPostgres(join(directory, 'postgres'), silent, { fsync: false });
      try {
        const { ownerUrl: databaseUrl } = await young.ensureStarted();
        await migrate(databaseUrl);
        await copyEvents(own.databaseUrl, databaseUrl);
        await young.stop();
        const restarted = await young.ensureStarted();
        const youngPool = createPool(restarted.ownerUrl);
        const youngStore = new PostgresEventStore(youngPool, silent);
        try {
          const after = new Collector();
          const subscription = youngStore.subscribeToAll({ after: null, handle: after.handle });
          await after.until(() => after.events.length >= 100);
          expect(after.events).toEqual(before.events);
          const next = await youngStore.append('copied-0', 19, [eventToAppend('Next')]);
          expect(BigInt(next.position)).toBe(101n);
          await after.until(() => after.events.length === 101);
          await subscription.close();
        } finally {
          await youngStore.close();
          await youngPool.end();
        }
      } finally {
        await young.stop();
        await rm(directory, { recursive: true, force: true });
      }
    });
  });
});

async function untilWaitingForLock(pool: pg.Pool): Promise<void> {
  for (const ends = performance.now() + 5_000; performance.now() < ends;) {
    const { rowCount } = await pool.query(`select from pg_locks where locktype = 'advisory' and not granted`);
    if ((rowCount ?? 0) > 0) return;
  }
  throw new Error('no append waits for the transaction that is open');
}

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Index Name'?: string;
  readonly 'Rows Removed by Filter'?: number;
  readonly Plans?: readonly PlanNode[];
}

function nodesOf(node: PlanNode | undefined): readonly PlanNode[] {
  return node === undefined ? [] : [node, ...(node.Plans ?? []).flatMap(nodesOf)];
}

/** A logical dump and restore of the events as text, as `pg_dump --data-only` makes it; the programs themselves are not part of the npm packages. */
async function copyEvents(fromUrl: string, toUrl: string): Promise<void> {
  const columns = ['position', 'stream', 'revision', 'id', 'type', 'category', 'data', 'metadata', 'recorded_at'];
  const from = new pg.Client({ connectionString: fromUrl });
  const to = new pg.Client({ connectionString: toUrl });
  await from.connect();
  await to.connect();
  try {
    const { rows } = await from.query<Record<string, string>>(
      `select ${columns.map((column) => `${column}::text`).join(', ')} from event_store.events order by md5(position::text)`,
    );
    for (const row of rows) {
      const placeholders = columns.map((_, index) => `$${index + 1}`).join(', ');
      await to.query(
        `insert into event_store.events (${columns.join(', ')}) values (${placeholders})`,
        columns.map((column) => row[column]),
      );
    }
  } finally {
    await from.end();
    await to.end();
  }
}
