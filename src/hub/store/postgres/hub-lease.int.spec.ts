import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import pg from 'pg';
import { createTestDatabase, type OwnPostgres, startOwnPostgres, type TestDatabase } from '../../../../test/support/postgres.js';
import { eventToAppend } from '../../../../test/contracts/event-store.contract.js';
import { TermOverError } from '../event-store/event-store.port.js';
import { FencedEventStore } from '../event-store/fenced-event-store.js';
import { PostgresEventStore } from '../event-store/postgres-event-store.js';
import { HubLease } from './hub-lease.js';
import { createPool } from './postgres.module.js';

jest.setTimeout(60_000);

const HUB = { host: 'a', url: 'http://127.0.0.1:9080', version: '1', tunnel: null, identity: {} };
const silent = { log: () => undefined, warn: () => undefined };

describe('the hub lease', () => {
  let own: OwnPostgres;
  let messages: { readonly seen: string[]; until(pattern: RegExp): Promise<void> };
  let held: HubLease[] = [];
  const log = { log: (message: string) => messages.seen.push(message), warn: (message: string) => messages.seen.push(message) };

  beforeEach(async () => {
    own = await startOwnPostgres();
    const seen: string[] = [];
    messages = {
      seen,
      until: async (pattern) => {
        while (!seen.some((message) => pattern.test(message))) await new Promise((resolve) => setTimeout(resolve, 10));
      },
    };
    held = [];
  });

  afterEach(async () => {
    for (const lock of held) await lock.release();
    await own.remove();
  });

  const acquire = async (onLost?: (reason: string) => void): Promise<HubLease> => {
    const lock = await HubLease.acquire({ databaseUrl: own.databaseUrl, hub: HUB, log, ...(onLost === undefined ? {} : { onLost }) });
    held.push(lock);
    return lock;
  };

  it('is held by one hub at a time', async () => {
    const first = await acquire();
    await expect(acquire()).rejects.toMatchObject({ code: 'hub_already_running' });
    await first.release();
    await acquire();
  });

  it('is taken again after a restart of the server', async () => {
    await acquire();
    await own.server.stop();
    await own.server.ensureStarted();
    await messages.until(/held again/);
    await expect(acquire()).rejects.toMatchObject({ code: 'hub_already_running' });
  });

  it('reports when another hub was faster', async () => {
    let tell: () => void = () => undefined;
    const lost = new Promise<void>((resolve) => {
      tell = resolve;
    });
    await acquire(tell);
    const other = new pg.Client({ connectionString: own.databaseUrl });
    await other.connect();
    // The other hub is queued and gets the lock as soon as the session of the first ends.
    const taken = other.query('select pg_advisory_lock(7310614, 2)');
    const admin = new pg.Client({ connectionString: own.databaseUrl });
    await admin.connect();
    for (let waiting = 0; waiting === 0;) waiting = (await admin.query(`select from pg_locks where locktype = 'advisory' and not granted`)).rowCount ?? 0;
    await admin.query(`select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'sendense-hub-lock-%'`);
    await taken;
    await lost;
    await other.end();
    await admin.end();
  });
});

describe('the hub lease, in a store that holds terms', () => {
  let database: TestDatabase;
  let held: HubLease[];
  const said: string[] = [];
  const ask = async <Row extends pg.QueryResultRow>(sql: string): Promise<readonly Row[]> => {
    const admin = new pg.Client({ connectionString: database.databaseUrl });
    await admin.connect();
    try {
      return (await admin.query<Row>(sql)).rows;
    } finally {
      await admin.end();
    }
  };
  const standBy = (isFit = true): { readonly won: Promise<HubLease>; readonly leaving: AbortController } => {
    const leaving = new AbortController();
    const waiting = { isFit: () => Promise.resolve(isFit), onLook: () => ['it lacks something'] };
    const won = HubLease.standBy(
      { databaseUrl: database.databaseUrl, hub: { ...HUB, host: 'b' }, log: { ...silent, warn: (message) => said.push(message) } },
      leaving.signal,
      waiting,
    );
    won.then(
      (lease) => held.push(lease),
      () => undefined,
    );
    return { won, leaving };
  };
  const waits = async (): Promise<void> => {
    while ((await ask('select from event_store.lease where standby is not null')).length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  };

  beforeEach(async () => {
    database = await createTestDatabase();
    held = [];
  });

  afterEach(async () => {
    for (const lease of held) await lease.release();
    await database.drop();
  });

  const acquire = async (onLost?: (reason: string) => void): Promise<HubLease> => {
    const lease = await HubLease.acquire({ databaseUrl: database.databaseUrl, hub: HUB, log: silent, ...(onLost === undefined ? {} : { onLost }) });
    held.push(lease);
    return lease;
  };

  it('is taken by a waiting hub as soon as the holder is gone, with the next term', async () => {
    const first = await acquire();
    const { won } = standBy();
    await waits();
    expect(await first.view()).toMatchObject({ term: first.term, holder: { host: 'a' }, standby: { host: 'b', problems: ['it lacks something'] } });
    await first.release();
    const second = await won;
    expect(second.term).toBe((first.term ?? 0) + 1);
    expect(await second.view()).toMatchObject({ holder: { host: 'b' } });
  });

  it('is taken from a holder that no longer renews it, whose appends are then refused', async () => {
    let lostBecause = '';
    const first = await acquire((reason) => (lostBecause = reason));
    const pool = createPool(database.databaseUrl);
    const store = new FencedEventStore(new PostgresEventStore(pool, silent, () => first.term), first);
    await store.append('thing-1', 'no_stream', [eventToAppend('First')]);
    const { won } = standBy();
    await waits();
    let second: HubLease | null = null;
    won.then(
      (lease) => (second = lease),
      () => undefined,
    );
    // As the database sees a frozen hub: its session stands, and its lease is not renewed.
    const isTaken = (): boolean => second !== null;
    while (!isTaken()) await ask(`update event_store.lease set renewed_at = now() - interval '9 seconds' where term = 1`);
    await expect(store.append('thing-1', 0, [eventToAppend('Late')])).rejects.toThrow(TermOverError);
    expect(lostBecause).toMatch(/over|another hub/);
    expect(await first.confirm().catch((error: unknown) => error)).toBeInstanceOf(TermOverError);
    expect((await won).term).toBe(2);
    await pool.end();
  });

  it('is left alone by a hub that could not do the work', async () => {
    const first = await acquire();
    const { won, leaving } = standBy(false);
    await waits();
    await first.release();
    while (!said.some((message) => message.includes('cannot do the work'))) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await ask('select from event_store.lease where term = 1')).toHaveLength(1);
    leaving.abort(new Error('enough'));
    await expect(won).rejects.toThrow('enough');
  });
});
