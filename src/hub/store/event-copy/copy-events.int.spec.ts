import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type pg from 'pg';
import { Collector, eventToAppend } from '../../../../test/contracts/event-store.contract.js';
import { EventStoreDbStandIn } from '../../../../test/support/eventstoredb-stand-in.js';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/postgres.js';
import { leafHashOf } from '../../../lib/ledger/ledger-leaf.js';
import { GrowingTree } from '../../../lib/ledger/merkle-tree.js';
import type { EventStore, RecordedEvent } from '../event-store/event-store.port.js';
import { PostgresEventStore } from '../event-store/postgres-event-store.js';
import { createPool } from '../postgres/postgres.module.js';
import { copyState } from '../event-store/copy-state.js';
import { EventStoreDbEventStore } from '../event-store/eventstoredb/eventstoredb-event-store.js';
import { openEventStoreDb } from '../event-store/eventstoredb/open-eventstoredb.js';
import { copyEvents, type CopyProgress } from './copy-events.js';
import type { CopyTarget } from './copy-target.js';
import { EventStoreDbCopyTarget } from './eventstoredb-copy-target.js';
import { PostgresCopyTarget } from './postgres-copy-target.js';

jest.setTimeout(180_000);

interface Opened {
  readonly store: PostgresEventStore;
  readonly pool: pg.Pool;
  close(): Promise<void>;
}

const EVENTS = 90;
const silent = { log: () => undefined, warn: () => undefined };
let source: Opened;
let target: Opened;
/** Empty at first. */
let other: Opened;

async function open(): Promise<Opened> {
  const database: TestDatabase = await createTestDatabase();
  const pool = createPool(database.databaseUrl, 4);
  const store = new PostgresEventStore(pool, silent);
  return {
    store,
    pool,
    close: async () => {
      await store.close();
      await pool.end();
      await database.drop();
    },
  };
}

async function all(store: EventStore): Promise<readonly RecordedEvent[]> {
  const head = await store.head();
  const collector = new Collector();
  const subscription = store.subscribeToAll({ after: null, handle: collector.handle });
  if (head !== null) await collector.until(() => (collector.events.at(-1)?.position ?? '') >= head);
  await subscription.close();
  return collector.events;
}

/** Stores events of several streams in turns, so that order across streams matters. */
async function fill({ store }: Opened): Promise<void> {
  for (let n = 0; n < EVENTS / 3; n++) {
    await store.append(`few-${n % 4}`, 'any', [eventToAppend('A', { n, text: `ä'\\\t\n ${n}`, nested: [{ z: 1.5, a: null }] })]);
    await store.append(`many-${n % 7}`, 'any', [eventToAppend('B', { n: 2 ** 53 - 1 }), eventToAppend('C', {})]);
  }
}

beforeAll(async () => {
  [source, target, other] = [await open(), await open(), await open()];
  await fill(source);
});
afterAll(async () => {
  for (const opened of [source, target, other]) await opened.close();
});
afterEach(() =>
  target.pool.query('alter table event_store.events disable trigger user; truncate event_store.events; alter table event_store.events enable trigger user'),
);

const toTarget = (): CopyTarget => new PostgresCopyTarget(target.pool, target.store);

describe('a copy to EventStoreDB and back', () => {
  let server: EventStoreDbStandIn;
  let store: EventStoreDbEventStore;
  beforeAll(async () => {
    server = await EventStoreDbStandIn.start();
    store = new EventStoreDbEventStore({ url: server.url, caFile: '' }, silent);
  });
  afterAll(async () => {
    await store.close();
    server.stop();
  });

  it('keeps everything but positions, and goes on where it was cut', async () => {
    const cut = async (batch: readonly RecordedEvent[]): Promise<void> => {
      await new EventStoreDbCopyTarget(store).write(batch.slice(0, 31));
      throw new Error('killed');
    };
    await expect(copyEvents(source.store, { store, write: cut, mark: (state) => store.markCopy(state) })).rejects.toThrow('killed');
    const there = await copyEvents(source.store, new EventStoreDbCopyTarget(store), { ahead: true });
    expect(there).toMatchObject({ events: EVENTS, copied: EVENTS - 31 });
    // A hub must not start before the last part was copied.
    const opening = openEventStoreDb({ url: server.url, caFile: '' }, source.pool, silent);
    await expect(opening).rejects.toThrow(/holds an unfinished copy of another store/);
    expect(await copyEvents(source.store, new EventStoreDbCopyTarget(store))).toMatchObject({ events: EVENTS, copied: 0 });
    await (await openEventStoreDb({ url: server.url, caFile: '' }, source.pool, silent)).close();
    const back = await copyEvents(store, toTarget());
    expect(back).toMatchObject({ events: EVENTS, copied: EVENTS, ledger_root: there.ledger_root });
    expect(await all(target.store)).toEqual(await all(source.store));
  });

  it('keeps the order when the connection is cut while many appends are under way', async () => {
    const another = await EventStoreDbStandIn.start();
    const cut = new EventStoreDbEventStore({ url: another.url, caFile: '' }, silent);
    try {
      another.cutAtBatchAppend = 20;
      expect(await copyEvents(source.store, new EventStoreDbCopyTarget(cut))).toMatchObject({ events: EVENTS, copied: EVENTS });
      expect(another.appends).toBeGreaterThan(20);
    } finally {
      await cut.close();
      another.stop();
    }
  });

  it('refuses a target with other events', async () => {
    await expect(copyEvents(other.store, new EventStoreDbCopyTarget(store))).rejects.toMatchObject({ code: 'copy_target_differs' });
  });
});

describe('a copy between two stores in PostgreSQL', () => {
  it('has the same events with the same positions and record times, and can be appended to', async () => {
    const phases: CopyProgress[] = [];
    const result = await copyEvents(source.store, toTarget(), { report: (progress) => phases.push(progress) });
    const ledger = new GrowingTree();
    for (const event of await all(source.store)) ledger.append(leafHashOf(event));
    expect(result).toEqual({ events: EVENTS, copied: EVENTS, ledger_root: ledger.root().toString('base64') });
    expect(await all(target.store)).toEqual(await all(source.store));
    expect(phases.at(-1)).toEqual({ phase: 'checking', events: EVENTS });
    expect(await copyState(target.pool)).toBe('complete');
    expect(await target.store.append('few-0', 7, [eventToAppend('Next')])).toMatchObject({ revision: 8, position: String(EVENTS + 1).padStart(19, '0') });
  });

  it('goes on where the last one was cut, in the middle of a batch too', async () => {
    const whole = toTarget();
    const cut: CopyTarget = {
      store: whole.store,
      mark: (state) => whole.mark(state),
      write: async (events, count) => {
        await whole.write(events.slice(0, 31), count);
        throw new Error('killed');
      },
    };
    await expect(copyEvents(source.store, cut)).rejects.toThrow('killed');
    expect(await copyState(target.pool)).toBe('unfinished');
    expect(await copyEvents(source.store, whole)).toMatchObject({ events: EVENTS, copied: EVENTS - 31 });
    const again = await copyEvents(source.store, whole);
    expect(again).toMatchObject({ events: EVENTS, copied: 0 });
    expect(await all(target.store)).toEqual(await all(source.store));
  });

  it('copies an empty store', async () => {
    expect(await copyEvents(other.store, toTarget())).toMatchObject({ events: 0, copied: 0 });
  });

  it.each([
    ['other events', (store: EventStore) => store.append('few-0', 'no_stream', [eventToAppend('A')])],
    ['more events', async (store: EventStore) => (await copyEvents(source.store, toTarget()), store.append('few-0', 'any', [eventToAppend('A')]))],
  ])('refuses a target with %s, and leaves it as it was', async (_, prepare) => {
    await prepare(target.store);
    const before = await all(target.store);
    await expect(copyEvents(source.store, toTarget())).rejects.toMatchObject({ code: 'copy_target_differs' });
    expect(await all(target.store)).toEqual(before);
  });

  it('reports a target that changes an event', async () => {
    const honest = toTarget();
    const forging: CopyTarget = {
      store: honest.store,
      mark: (state) => honest.mark(state),
      write: (events, count) => honest.write(events.with(40, { ...(events[40] as RecordedEvent), data: { forged: true } }), count),
    };
    await expect(copyEvents(source.store, forging)).rejects.toMatchObject({ code: 'copy_not_equal' });
  });

  it('refuses a source that grows, except ahead of the move', async () => {
    await other.store.append('a-1', 'no_stream', [eventToAppend('A')]);
    const whole = toTarget();
    const meanwhile: CopyTarget = {
      store: whole.store,
      mark: (state) => whole.mark(state),
      write: async (events, count) => {
        await whole.write(events, count);
        await other.store.append(`b-${randomUUID()}`, 'no_stream', [eventToAppend('B')]);
      },
    };
    expect(await copyEvents(other.store, meanwhile, { ahead: true })).toMatchObject({ events: 1, copied: 1 });
    await expect(copyEvents(other.store, meanwhile)).rejects.toMatchObject({ code: 'copy_source_changed' });
  });
});
