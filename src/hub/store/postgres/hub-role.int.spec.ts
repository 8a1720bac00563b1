import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import pg from 'pg';
import type { DataSource } from 'typeorm';
import { allProjections, allReadModels } from '../../../../projections/all-projections.js';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/postgres.js';
import { PostgresEventStore } from '../event-store/postgres-event-store.js';
import { inspectDatabase, missingEvents } from './inspect-database.js';
import { createPool, openDataSource } from './postgres.module.js';
import { ProjectionTables } from './projection-tables.js';

jest.setTimeout(60_000);

const PASSWORD = 'hub-role-of-this-test';
const REFUSED = /permission denied|must be owner/;

let database: TestDatabase;
let hubUrl: string;
let role: string;
let pool: pg.Pool;
let dataSource: DataSource;
let store: PostgresEventStore;

const silent = { log: () => undefined, warn: () => undefined };

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
  role = `hub_${randomUUID().slice(0, 8)}`;
  await asOwner(`create role ${role} login password '${PASSWORD}'`);
  const url = new URL(database.databaseUrl);
  url.username = role;
  url.password = PASSWORD;
  hubUrl = url.toString();
  dataSource = await openDataSource(hubUrl, allReadModels, database.databaseUrl);
  pool = createPool(hubUrl);
  store = new PostgresEventStore(pool, silent);
});

afterAll(async () => {
  await store.close();
  await pool.end();
  await dataSource.destroy();
  await asOwner(`drop owned by ${role} cascade`, `drop role ${role}`);
  await database.drop();
});

async function asOwner(...statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: database.databaseUrl });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}

function event(type: string) {
  const metadata = {
    $correlationId: randomUUID(),
    $causationId: randomUUID(),
    actor: 'api:alice',
    hub_id: randomUUID(),
    schema_version: 1,
    time: '2026-11-22T10:00:00.000Z',
  };
  return { id: randomUUID(), type, data: { said: type }, metadata };
}

describe("the hub's database role", () => {
  it('appends events, reads them and follows them', async () => {
    const seen: string[] = [];
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const subscription = store.subscribeToAll({
      after: null,
      handle: ({ events }) => {
        seen.push(...events.map(({ type }) => type));
        if (seen.length === 2) resolve(undefined);
        return Promise.resolve();
      },
    });
    await store.append('thing-1', 'no_stream', [event('First')]);
    await store.append('thing-1', 0, [event('Second')]);
    await promise;
    await subscription.close();
    expect(seen).toEqual(['First', 'Second']);
  });

  it.each([
    ['changes events', `update event_store.events set metadata = jsonb_set(metadata, '{actor}', '"api:bob"')`],
    ['deletes events', 'delete from event_store.events'],
    ['empties the store', 'truncate event_store.events'],
    [
      'writes events without the function',
      'insert into event_store.events select 99, stream, 99, id, type, category, data, metadata, recorded_at from event_store.events limit 1',
    ],
    ['lifts the protection for its session', `set session_replication_role = 'replica'`],
    ['lifts the protection of the table', 'alter table event_store.events disable trigger all'],
    [
      'replaces the function of the protection',
      'create or replace function event_store.refuse_change() returns trigger language plpgsql as $$ begin return null; end $$',
    ],
    ['drops the store', 'drop schema event_store cascade'],
    ['makes itself the owner', 'alter table event_store.events owner to current_user'],
  ])('never %s', async (_what, sql) => {
    await store.append('thing-2', 'any', [event('Kept')]);
    await expect(pool.query(sql)).rejects.toThrow(REFUSED);
  });

  it('rebuilds read models', async () => {
    const tables = new ProjectionTables(dataSource);
    for (const projection of allProjections) {
      const live = await tables.liveCheckpoint(projection);
      const generation = await tables.createGeneration(projection);
      await tables.switchTo(projection, generation, null, live.position);
      expect((await tables.checkpoints(projection)).map((checkpoint) => checkpoint.generation)).toEqual([generation]);
    }
  });

  it('keeps these privileges after another start, when the owner has run migrations', async () => {
    await asOwner('create table read_models.made_by_a_migration (n integer)', 'create view read_models.shown as select * from read_models.made_by_a_migration');
    await (await openDataSource(hubUrl, allReadModels, database.databaseUrl)).destroy();
    await pool.query('drop view read_models.shown');
    await pool.query('drop table read_models.made_by_a_migration');
  });

  it('starts without the owner when there are no migrations to run', async () => {
    await (await openDataSource(hubUrl)).destroy();
    await expect(pool.query('delete from event_store.events')).rejects.toThrow(REFUSED);
  });

  it('is distinguished by validate from a role that may change events', async () => {
    expect(await inspectDatabase(hubUrl)).toMatchObject({ mayChangeEvents: false, mayCreate: true });
    expect(await inspectDatabase(database.databaseUrl)).toMatchObject({ mayChangeEvents: true });
  });
});

describe('two roles created as documented', () => {
  it('are sufficient, although neither is a superuser', async () => {
    const id = randomUUID().slice(0, 8);
    const names = { owner: `owner_${id}`, hub: `hub_of_${id}`, database: `two_roles_${id}` };
    await asOwner(
      `create role ${names.owner} login password '${PASSWORD}'`,
      `create role ${names.hub} login password '${PASSWORD}'`,
      `grant ${names.hub} to ${names.owner}`,
      `create database ${names.database} owner ${names.owner}`,
    );
    const addressOf = (role: string): string => {
      const url = new URL(hubUrl);
      url.username = role;
      url.pathname = `/${names.database}`;
      return url.toString();
    };
    try {
      await (await openDataSource(addressOf(names.hub), allReadModels, addressOf(names.owner))).destroy();
      const again = await openDataSource(addressOf(names.hub), allReadModels, addressOf(names.owner));
      const own = createPool(addressOf(names.hub), 2);
      try {
        await new PostgresEventStore(own, silent).append('thing-1', 'no_stream', [event('First')]);
        const tables = new ProjectionTables(again);
        for (const projection of allProjections) {
          await tables.createGeneration(projection);
        }
        await expect(own.query('delete from event_store.events')).rejects.toThrow(REFUSED);
        expect(await inspectDatabase(addressOf(names.hub))).toMatchObject({ mayChangeEvents: false });
      } finally {
        await own.end();
        await again.destroy();
      }
    } finally {
      await asOwner(`drop database ${names.database} with (force)`, `drop role ${names.hub}`, `drop role ${names.owner}`);
    }
  });
});

describe('events deleted by the owner', () => {
  it('are reported as missing, with their streams', async () => {
    await store.append('gap-1', 'no_stream', [event('A'), event('B'), event('C')]);
    expect(await missingEvents(hubUrl)).toBeNull();
    await asOwner(`set session_replication_role = 'replica'`, `delete from event_store.events where stream = 'gap-1' and revision = 1`);
    expect(await missingEvents(hubUrl)).toBe('1 events are missing, from the streams gap-1');
  });
});
