import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type pg from 'pg';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/postgres.js';
import type { CommandContext } from '../../../kernel/command-context.js';
import type { Decider } from '../../../kernel/decider.js';
import { DomainError } from '../../../kernel/domain-error.js';
import type { DomainEvent } from '../../../kernel/event.js';
import { Clock } from '../../../lib/clock/clock.js';
import { createPool } from '../postgres/postgres.module.js';
import { CommandRunner } from './command-runner.js';
import { EventStore, type AppendResult, EventStoreUnavailableError, type EventToAppend, type ExpectedRevision, type ReadOptions } from './event-store.port.js';
import type { RecordedEvent, Subscription, SubscriptionOptions } from './event-store.port.js';
import { PostgresEventStore } from './postgres-event-store.js';

jest.setTimeout(30_000);

type Added = DomainEvent<'Added', { readonly amount: number }>;
interface Sum {
  readonly total: number;
  readonly count: number;
}
const sum: Decider<Sum, { readonly amount: number }, Added> = {
  initialState: { total: 0, count: 0 },
  decide: ({ amount }) => {
    if (amount < 0) throw new DomainError('invalid', 'negative', 'an amount cannot be negative');
    return amount === 0 ? [] : [{ type: 'Added', data: { amount } }];
  },
  evolve: (state, event) => ({ total: state.total + event.data.amount, count: state.count + 1 }),
};

type Carried = DomainEvent<'Carried', { readonly total: number; readonly count: number }>;
const CARRIED_AFTER = 50;
/** An endless stream: after a fixed number of events, an event of its own holds the sum. */
const endless: Decider<Sum, { readonly amount: number }, Added | Carried> = {
  initialState: { total: 0, count: 0 },
  decide: ({ amount }, { total, count }) => {
    const added: Added = { type: 'Added', data: { amount } };
    return (count + 1) % CARRIED_AFTER === 0 ? [added, { type: 'Carried', data: { total: total + amount, count: count + 1 } }] : [added];
  },
  evolve: (state, event) =>
    event.type === 'Carried' ? { total: event.data.total, count: event.data.count } : { total: state.total + event.data.amount, count: state.count + 1 },
  carriedOverBy: 'Carried',
};

/** Counts calls, and lets a test make the store fail. */
class WatchedStore extends EventStore {
  eventsRead = 0;
  appends = 0;
  failNext: 'before' | 'after' | undefined;

  constructor(private readonly inner: EventStore) {
    super();
  }

  override async append(stream: string, expected: ExpectedRevision, events: readonly EventToAppend[]): Promise<AppendResult> {
    this.appends++;
    const fail = this.failNext;
    this.failNext = undefined;
    if (fail === 'before') throw new EventStoreUnavailableError('away');
    const result = await this.inner.append(stream, expected, events);
    if (fail === 'after') throw new EventStoreUnavailableError('away');
    return result;
  }

  override async *read(stream: string, options?: ReadOptions): AsyncGenerator<RecordedEvent> {
    for await (const event of this.inner.read(stream, options)) {
      this.eventsRead++;
      yield event;
    }
  }

  override subscribeToAll(options: SubscriptionOptions): Subscription {
    return this.inner.subscribeToAll(options);
  }

  override head(): Promise<string | null> {
    return this.inner.head();
  }
}

describe('the command runner', () => {
  let database: TestDatabase;
  let pool: pg.Pool;
  let postgres: PostgresEventStore;
  let store: WatchedStore;
  let runner: CommandRunner;
  let stream: string;
  const hubId = randomUUID();
  const newRunner = (): CommandRunner => new CommandRunner(store, new Clock(), hubId);

  beforeAll(async () => {
    database = await createTestDatabase();
    pool = createPool(database.databaseUrl);
    postgres = new PostgresEventStore(pool, { log: () => undefined, warn: () => undefined });
  });

  afterAll(async () => {
    await postgres.close();
    await pool.end();
    await database.drop();
  });

  beforeEach(() => {
    store = new WatchedStore(postgres);
    runner = newRunner();
    stream = `sum-${randomUUID()}`;
  });

  it('appends the decided events with the metadata of the command', async () => {
    const context = newContext();
    const outcome = await runner.run(stream, sum, { amount: 3 }, context);
    expect(outcome).toEqual({ state: { total: 3, count: 1 }, events: [{ type: 'Added', data: { amount: 3 } }], position: await store.head() });
    const [event] = await all(stream);
    expect(event?.metadata).toMatchObject({
      $correlationId: context.correlationId,
      $causationId: context.commandId,
      actor: 'system:test',
      hub_id: hubId,
      schema_version: 1,
    });
    expect(await runner.load(stream, sum)).toEqual({ state: { total: 3, count: 1 }, revision: 0, position: outcome.position });
  });

  it('writes nothing when the decider returns no events or refuses', async () => {
    expect(await runner.run(stream, sum, { amount: 0 }, newContext())).toEqual({ state: sum.initialState, events: [], position: null });
    await expect(runner.run(stream, sum, { amount: -1 }, newContext())).rejects.toMatchObject({ code: 'negative' });
    expect(store.appends).toBe(0);
  });

  it('answers a repeated command with the events it wrote, also in another process and after other commands', async () => {
    const context = newContext();
    await runner.run(stream, sum, { amount: 3 }, context);
    await runner.run(stream, sum, { amount: 4 }, newContext());
    for (const again of [runner, newRunner()]) {
      expect(await again.run(stream, sum, { amount: 99 }, context)).toMatchObject({
        state: { total: 7, count: 2 },
        events: [{ type: 'Added', data: { amount: 3 } }],
      });
    }
    expect(await all(stream)).toHaveLength(2);
  });

  it('recognizes a repeated command after very many others, and reads the stream again only for it', async () => {
    const contexts = Array.from({ length: 300 }, () => newContext());
    for (const [index, context] of contexts.entries()) await runner.run(stream, sum, { amount: index + 1 }, context);
    for (const again of [runner, newRunner()]) {
      await again.load(stream, sum);
      for (const index of [0, 150, 299]) {
        const outcome = await again.run(stream, sum, { amount: 99_999 }, contexts[index] ?? newContext());
        expect(outcome.events).toEqual([{ type: 'Added', data: { amount: index + 1 } }]);
      }
    }
    expect(await all(stream)).toHaveLength(300);
  });

  it('does not read a long stream again for every command, and still sees the events of other writers', async () => {
    for (let n = 0; n < 50; n++) await runner.run(stream, sum, { amount: 1 }, newContext());
    // Each event is read once, by the command after the one that wrote it.
    expect(store.eventsRead).toBe(49);
    await newRunner().run(stream, sum, { amount: 100 }, newContext());
    store.eventsRead = 0;
    expect((await runner.run(stream, sum, { amount: 1 }, newContext())).state).toEqual({ total: 151, count: 52 });
    expect(store.eventsRead).toBe(2);
  });

  it('runs a hundred concurrent commands on one stream one after the other', async () => {
    await Promise.all(Array.from({ length: 100 }, async () => runner.run(stream, sum, { amount: 1 }, newContext())));
    expect((await runner.load(stream, sum)).state).toEqual({ total: 100, count: 100 });
  });

  it('decides again when another writer was faster, so that no command is lost', async () => {
    const runners = [runner, newRunner(), newRunner()];
    await Promise.all(Array.from({ length: 15 }, async (_, n) => runners[n % 3]?.run(stream, sum, { amount: 1 }, newContext())));
    expect((await runner.load(stream, sum)).state).toEqual({ total: 15, count: 15 });
  });

  it.each(['before', 'after'] as const)('writes once when the store becomes unavailable %s the append', async (when) => {
    store.failNext = when;
    expect(await runner.run(stream, sum, { amount: 5 }, newContext())).toMatchObject({ state: { total: 5, count: 1 }, events: [{ data: { amount: 5 } }] });
    expect(await all(stream)).toHaveLength(1);
  });

  it('does not pass the state of one decider to another', async () => {
    const count: Decider<number, { readonly amount: number }, Added> = { initialState: 0, decide: () => [], evolve: (state) => state + 1 };
    await runner.run(stream, sum, { amount: 5 }, newContext());
    expect((await runner.load(stream, count)).state).toBe(1);
    expect((await runner.load(stream, sum)).state).toEqual({ total: 5, count: 1 });
  });

  it('folds a stream once for all slices of a context, although each has its own decider', async () => {
    for (let n = 0; n < 20; n++) await runner.run(stream, sum, { amount: 1 }, newContext());
    const slices = ['one', 'two'].map((): typeof sum => ({ ...sum, decide: () => [{ type: 'Added', data: { amount: 1 } }] }));
    store.eventsRead = 0;
    for (let n = 0; n < 10; n++) for (const slice of slices) await runner.run(stream, slice, { amount: 1 }, newContext());
    expect(store.eventsRead).toBeLessThanOrEqual(20);
    expect((await runner.load(stream, sum)).state).toEqual({ total: 40, count: 40 });
  });

  it('starts reading an endless stream at an event that holds its state, and knows the commands since the previous such event', async () => {
    const contexts = Array.from({ length: 10 * CARRIED_AFTER + 20 }, () => newContext());
    for (const context of contexts) await runner.run(stream, endless, { amount: 2 }, context);
    const stored = await all(stream);
    expect(stored.filter(({ type }) => type === 'Carried')).toHaveLength(10);
    const state = { total: contexts.length * 2, count: contexts.length };

    const fresh = newRunner();
    store.eventsRead = 0;
    expect(await fresh.load(stream, endless)).toMatchObject({ state, revision: stored.length - 1 });
    expect(store.eventsRead).toBeLessThan(5 * CARRIED_AFTER);

    const known = contexts.slice(9 * CARRIED_AFTER);
    for (const again of [runner, fresh, newRunner()]) {
      for (const context of known) {
        const outcome = await again.run(stream, endless, { amount: 99 }, context);
        expect(outcome).toMatchObject({ state, events: [{ type: 'Added', data: { amount: 2 } }] });
      }
    }
    expect(await all(stream)).toHaveLength(stored.length);
    // For older commands, only the state decides their effect.
    for (const [index, again] of [runner, fresh].entries()) {
      store.eventsRead = 0;
      await again.run(stream, endless, { amount: 1 }, contexts[index] ?? newContext());
      expect(store.eventsRead).toBeLessThan(5 * CARRIED_AFTER);
    }
    expect(await all(stream)).toHaveLength(stored.length + 2);
  });

  it('carries over the state of a stream that was long before it had such events', async () => {
    const long = 4_500;
    const additions = Array.from({ length: long }, (): EventToAppend => ({
      id: randomUUID(),
      type: 'Added',
      data: { amount: 1 },
      metadata: metadataOf(newContext(), hubId),
    }));
    for (let from = 0; from < long; from += 500) await postgres.append(stream, from === 0 ? 'no_stream' : from - 1, additions.slice(from, from + 500));
    for (let n = 0; n < CARRIED_AFTER; n++) await runner.run(stream, endless, { amount: 1 }, newContext());
    const state = { total: long + CARRIED_AFTER, count: long + CARRIED_AFTER };
    store.eventsRead = 0;
    expect((await newRunner().load(stream, endless)).state).toEqual(state);
    // Searched once through the range that can hold two such events, and folded from the only one.
    expect(store.eventsRead).toBeLessThan(long);
  });

  async function all(name: string): Promise<RecordedEvent[]> {
    const events: RecordedEvent[] = [];
    for await (const event of postgres.read(name)) events.push(event);
    return events;
  }
});

function metadataOf({ commandId, correlationId, actor }: CommandContext, hubId: string): EventToAppend['metadata'] {
  return { $correlationId: correlationId, $causationId: commandId, actor, hub_id: hubId, schema_version: 1, time: '2026-11-21T10:00:00.000Z' };
}

function newContext(): CommandContext {
  return { commandId: randomUUID(), correlationId: randomUUID(), actor: 'system:test' };
}
