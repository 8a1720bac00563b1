import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Position } from '../../src/kernel/position.js';
import {
  AppendTooLargeError,
  EventStore,
  type EventToAppend,
  MAX_APPEND_BYTES,
  type ReadOptions,
  type RecordedEvent,
  WrongExpectedRevisionError,
} from '../../src/hub/store/event-store/event-store.port.js';
import type { JsonObject } from '../../src/kernel/json.js';

/** What a contract run needs of an adapter. */
export interface EventStoreUnderTest {
  /** An adapter on a store that may hold events of earlier tests. */
  readonly store: EventStore;
  /** A second, independent adapter on the same store, as another process would have. */
  readonly another: EventStore;
  /** The store does not say whether it wrote: of concurrent appends of the same events, several may be answered as if they were the first. */
  readonly hidesRepetitions?: boolean;
  /** Bytes that a character of an event's type adds to the size of an append. Default 0. */
  readonly bytesPerTypeCharacter?: number;
  /** Ends everything that was opened. */
  close(): Promise<void>;
}

export function eventToAppend(type: string, data: JsonObject = {}, id: string = randomUUID()): EventToAppend {
  return {
    id,
    type,
    data,
    metadata: {
      $correlationId: randomUUID(),
      $causationId: randomUUID(),
      actor: 'system:contract',
      hub_id: '11111111-2222-4333-8444-555555555555',
      schema_version: 1,
      time: '2026-01-02T03:04:05.678Z',
    },
  };
}

export async function readAll(store: EventStore, stream: string, options?: ReadOptions): Promise<RecordedEvent[]> {
  const events: RecordedEvent[] = [];
  for await (const event of store.read(stream, options)) events.push(event);
  return events;
}

/** How long a test waits for events before it says which are missing. */
const PATIENCE_MS = 20_000;

/** Collects what a subscription delivers, and lets a test wait for a number of events or a position. */
export class Collector {
  readonly events: RecordedEvent[] = [];
  readonly batches: { readonly size: number; readonly upTo: Position; readonly caughtUp: boolean }[] = [];
  private waiting: (() => void)[] = [];

  readonly handle = async (batch: { readonly events: readonly RecordedEvent[]; readonly upTo: Position; readonly caughtUp: boolean }): Promise<void> => {
    this.events.push(...batch.events);
    this.batches.push({ size: batch.events.length, upTo: batch.upTo, caughtUp: batch.caughtUp });
    const woken = this.waiting;
    this.waiting = [];
    for (const wake of woken) wake();
  };

  get upTo(): Position {
    return this.batches.at(-1)?.upTo ?? '';
  }

  async until(condition: () => boolean): Promise<void> {
    let late: (error: Error) => void = () => undefined;
    const deadline = new Promise<never>((_, reject) => {
      late = reject;
    });
    const timer = setTimeout(() => {
      late(new Error(`waited in vain; ${this.events.length} events were delivered, up to ${this.upTo || 'nothing'}`));
    }, PATIENCE_MS);
    try {
      while (!condition()) await Promise.race([deadline, new Promise<void>((resolve) => this.waiting.push(resolve))]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Every adapter of the port behaves like this. `make` is called once for the suite. */
export function eventStoreContract(name: string, make: () => Promise<EventStoreUnderTest>): void {
  describe(`event store contract: ${name}`, () => {
    let made: EventStoreUnderTest;
    let store: EventStore;
    /** Categories are the test's own, so that tests do not see each other's events. */
    let serial = 0;
    // A real server keeps what earlier runs stored.
    const run = randomUUID().slice(0, 8);
    const newCategory = (): string => `contract${run}x${++serial}`;
    const newStream = (category = newCategory()): string => `${category}-${randomUUID()}`;

    beforeAll(async () => {
      made = await make();
      store = made.store;
    });

    afterAll(async () => {
      await made.close();
    });

    describe('expected revisions', () => {
      it('numbers events of a stream from 0 and reports the last revision', async () => {
        const stream = newStream();
        expect(await store.append(stream, 'no_stream', [eventToAppend('A'), eventToAppend('B')])).toMatchObject({ revision: 1, idempotent: false });
        expect(await store.append(stream, 1, [eventToAppend('C')])).toMatchObject({ revision: 2, idempotent: false });
        expect((await readAll(store, stream)).map(({ revision, type }) => [revision, type])).toEqual([
          [0, 'A'],
          [1, 'B'],
          [2, 'C'],
        ]);
      });

      it('accepts any at a new and at an old stream', async () => {
        const stream = newStream();
        expect(await store.append(stream, 'any', [eventToAppend('A')])).toMatchObject({ revision: 0 });
        expect(await store.append(stream, 'any', [eventToAppend('B')])).toMatchObject({ revision: 1 });
      });

      it('refuses no_stream once the stream exists', async () => {
        const stream = newStream();
        await store.append(stream, 'any', [eventToAppend('A')]);
        await expectConflict(store.append(stream, 'no_stream', [eventToAppend('B')]), stream, 'no_stream', 0);
      });

      it('refuses stream_exists until the stream exists', async () => {
        const stream = newStream();
        await expectConflict(store.append(stream, 'stream_exists', [eventToAppend('A')]), stream, 'stream_exists', null);
        await store.append(stream, 'any', [eventToAppend('A')]);
        expect(await store.append(stream, 'stream_exists', [eventToAppend('B')])).toMatchObject({ revision: 1 });
      });

      it('refuses an exact revision above and below the current one', async () => {
        const stream = newStream();
        await expectConflict(store.append(stream, 0, [eventToAppend('A')]), stream, 0, null);
        await store.append(stream, 'any', [eventToAppend('A'), eventToAppend('B')]);
        await expectConflict(store.append(stream, 0, [eventToAppend('C')]), stream, 0, 1);
        await expectConflict(store.append(stream, 2, [eventToAppend('C')]), stream, 2, 1);
      });

      it('lets exactly one of many writers at the same revision win', async () => {
        const stream = newStream();
        await store.append(stream, 'no_stream', [eventToAppend('A')]);
        const outcomes = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => (i % 2 ? store : made.another).append(stream, 0, [eventToAppend('B')])));
        expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
        for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(WrongExpectedRevisionError);
        expect(await readAll(store, stream)).toHaveLength(2);
      });
    });

    describe('idempotency', () => {
      it('finds the same events after an exact revision below the current one, without a write', async () => {
        const stream = newStream();
        const [a, b, c] = [eventToAppend('A'), eventToAppend('B'), eventToAppend('C')];
        const first = await store.append(stream, 'no_stream', [a, b]);
        await store.append(stream, 1, [c]);
        expect(await store.append(stream, 'no_stream', [a, b])).toEqual({ revision: 1, position: first.position, idempotent: true });
        expect(await store.append(stream, 0, [b])).toMatchObject({ revision: 1, idempotent: true });
        expect(await readAll(store, stream)).toHaveLength(3);
      });

      it('refuses an exact revision below when ids differ, are in another order, or run past the end', async () => {
        const stream = newStream();
        const [a, b] = [eventToAppend('A'), eventToAppend('B')];
        await store.append(stream, 'no_stream', [a, b]);
        await expectConflict(store.append(stream, 'no_stream', [b, a]), stream, 'no_stream', 1);
        await expectConflict(store.append(stream, 'no_stream', [a, eventToAppend('X')]), stream, 'no_stream', 1);
        await expectConflict(store.append(stream, 'no_stream', [a, b, eventToAppend('X')]), stream, 'no_stream', 1);
        expect(await readAll(store, stream)).toHaveLength(2);
      });

      it('always writes at the current revision, even an id that is there already', async () => {
        const stream = newStream();
        const a = eventToAppend('A');
        await store.append(stream, 'no_stream', [a]);
        expect(await store.append(stream, 0, [a])).toMatchObject({ revision: 1, idempotent: false });
      });

      it.each(['any', 'stream_exists'] as const)('at %s finds events that are all there, wherever they stand', async (expected) => {
        const stream = newStream();
        const [a, b, c] = [eventToAppend('A'), eventToAppend('B'), eventToAppend('C')];
        await store.append(stream, 'no_stream', [a, b, c]);
        expect(await store.append(stream, expected, [a, b])).toMatchObject({ revision: 1, idempotent: true });
        expect(await store.append(stream, expected, [c])).toMatchObject({ revision: 2, idempotent: true });
        expect(await store.append(stream, expected, [eventToAppend('D')])).toMatchObject({ revision: 3, idempotent: false });
        await expectConflict(store.append(stream, expected, [a, eventToAppend('E')]), stream, expected, 3);
      });

      it('makes an append that is sent many times at once one append', async () => {
        const stream = newStream();
        const events = [eventToAppend('A'), eventToAppend('B')];
        const results = await Promise.all(Array.from({ length: 12 }, (_, i) => (i % 2 ? store : made.another).append(stream, 'no_stream', events)));
        if (made.hidesRepetitions !== true) expect(results.filter(({ idempotent }) => !idempotent)).toHaveLength(1);
        expect(new Set(results.map(({ position }) => position)).size).toBe(1);
        expect(await readAll(store, stream)).toHaveLength(2);
      });

      it('does not mix up the same event id in two streams', async () => {
        const [one, two] = [newStream(), newStream()];
        const a = eventToAppend('A');
        await store.append(one, 'any', [a]);
        expect(await store.append(two, 'any', [a])).toMatchObject({ revision: 0, idempotent: false });
      });
    });

    describe('what is stored', () => {
      it('comes back as it went in, with every Unicode character', async () => {
        const stream = `${newCategory()}-Grüße 日本 'quoted" \\ $1 💾`;
        const data = { text: 'ä\u0001\u001f\u007f\u2028💾 "\\', list: [1, -0.5, 1e21, true, null, { deep: [] }], empty: '', zahl: 9007199254740991, Ключ: 'x' };
        const event = eventToAppend('Unicode', data);
        const before = Date.now();
        await store.append(stream, 'any', [event]);
        const [read] = await readAll(store, stream);
        expect(read).toMatchObject({ id: event.id, stream, revision: 0, type: 'Unicode', data, metadata: event.metadata });
        expect(Math.abs(Date.parse(read?.recordedAt ?? '') - before)).toBeLessThan(60_000);
      });

      it.each([
        ['NUL in a value', { a: { b: ['x\0y'] } }],
        ['NUL in a member name', { 'a\0b': 1 }],
        ['an unpaired surrogate', { a: '\ud800' }],
      ])('refuses %s with a clear error, and writes nothing', async (_, data) => {
        const stream = newStream();
        await expect(store.append(stream, 'any', [eventToAppend('A'), eventToAppend('B', data)])).rejects.toMatchObject({
          code: 'text_not_storable',
          kind: 'invalid',
        });
        expect(await readAll(store, stream)).toEqual([]);
      });

      it('refuses NUL in a stream name, an id that is no UUID, and an append of nothing', async () => {
        await expect(store.append('x-\0', 'any', [eventToAppend('A')])).rejects.toMatchObject({ code: 'text_not_storable' });
        await expect(store.append(newStream(), 'any', [eventToAppend('A', {}, 'no-uuid')])).rejects.toMatchObject({ code: 'event_not_storable' });
        await expect(store.append(newStream(), 'any', [])).rejects.toMatchObject({ code: 'event_not_storable' });
      });

      it('takes an append of exactly 1 MiB and refuses one byte more, all of it', async () => {
        const stream = newStream();
        const empty = eventToAppend('Big', { filler: '' });
        const ofType = (made.bytesPerTypeCharacter ?? 0) * empty.type.length;
        const room = MAX_APPEND_BYTES - ofType - Buffer.byteLength(JSON.stringify(empty.data)) - Buffer.byteLength(JSON.stringify(empty.metadata));
        const tooLarge = store.append(stream, 'any', [{ ...empty, data: { filler: 'x'.repeat(room + 1) } }]);
        await expect(tooLarge).rejects.toBeInstanceOf(AppendTooLargeError);
        await expect(tooLarge).rejects.toMatchObject({ stream, bytes: MAX_APPEND_BYTES + 1 });
        expect(await readAll(store, stream)).toEqual([]);
        await store.append(stream, 'any', [{ ...empty, data: { filler: 'x'.repeat(room) } }]);
        expect(await readAll(store, stream)).toHaveLength(1);
      });

      it('counts bytes, not characters', async () => {
        await expect(store.append(newStream(), 'any', [eventToAppend('Big', { filler: 'ü'.repeat(MAX_APPEND_BYTES / 2) })])).rejects.toBeInstanceOf(
          AppendTooLargeError,
        );
      });
    });

    describe('reading', () => {
      it('yields nothing for a stream that does not exist', async () => {
        expect(await readAll(store, newStream())).toEqual([]);
      });

      it('goes forwards and backwards, from a revision, up to a limit', async () => {
        const stream = newStream();
        await store.append(
          stream,
          'any',
          Array.from({ length: 10 }, (_, n) => eventToAppend('N', { n })),
        );
        const revisions = async (options: ReadOptions): Promise<number[]> => (await readAll(store, stream, options)).map(({ revision }) => revision);
        expect(await revisions({ from: 7 })).toEqual([7, 8, 9]);
        expect(await revisions({ from: 2, limit: 3 })).toEqual([2, 3, 4]);
        expect(await revisions({ direction: 'backwards', limit: 3 })).toEqual([9, 8, 7]);
        expect(await revisions({ direction: 'backwards', from: 2 })).toEqual([2, 1, 0]);
        expect(await revisions({ from: 10 })).toEqual([]);
        expect(await revisions({ limit: 0 })).toEqual([]);
      });

      it('pages through a long stream and through large events', async () => {
        const long = newStream();
        for (let n = 0; n < 2_600; n += 650)
          await store.append(
            long,
            'any',
            Array.from({ length: 650 }, (_, i) => eventToAppend('N', { n: n + i })),
          );
        expect((await readAll(store, long)).map(({ data }) => data['n'])).toEqual(Array.from({ length: 2_600 }, (_, n) => n));
        expect((await readAll(store, long, { direction: 'backwards' })).map(({ revision }) => revision)).toEqual(
          Array.from({ length: 2_600 }, (_, n) => 2_599 - n),
        );
        const large = newStream();
        for (let n = 0; n < 12; n++) await store.append(large, 'any', [eventToAppend('Large', { n, filler: incompressible(1_000_000) })]);
        expect((await readAll(store, large)).map(({ data }) => data['n'])).toEqual(Array.from({ length: 12 }, (_, n) => n));
        expect((await readAll(store, large, { direction: 'backwards', limit: 11 })).at(-1)?.revision).toBe(1);
        const collector = new Collector();
        const subscription = store.subscribeToAll({ after: null, categories: [large.slice(0, large.indexOf('-'))], handle: collector.handle });
        await collector.until(() => collector.events.length === 12);
        await subscription.close();
        expect(collector.events.map(({ data }) => data['n'])).toEqual(Array.from({ length: 12 }, (_, n) => n));
      });
    });

    describe('positions', () => {
      it('compare as strings in the order of the events, and head is the newest', async () => {
        const positions: Position[] = [];
        for (let n = 0; n < 12; n++) positions.push((await store.append(newStream(), 'any', [eventToAppend('A'), eventToAppend('B')])).position);
        expect([...positions].sort()).toEqual(positions);
        expect(new Set(positions).size).toBe(12);
        expect(await store.head()).toBe(positions.at(-1));
      });

      it('are in the order of commits under many writers, and a subscriber misses and repeats none', async () => {
        const category = newCategory();
        const streams = Array.from({ length: 6 }, () => newStream(category));
        const collector = new Collector();
        const subscription = made.another.subscribeToAll({ after: await store.head(), categories: [category], batchSize: 7, handle: collector.handle });
        const appended: string[] = [];
        const writer = async (w: number): Promise<void> => {
          for (let n = 0; n < 40; n++) {
            const events = Array.from({ length: 1 + ((w + n) % 3) }, () => eventToAppend('N', { w, n }));
            await (w % 2 ? store : made.another).append(streams[(w + n) % streams.length] ?? '', 'any', events);
            appended.push(...events.map(({ id }) => id));
          }
        };
        await Promise.all(Array.from({ length: 8 }, (_, w) => writer(w)));
        await collector.until(() => collector.events.length >= appended.length);
        await subscription.close();
        expect(collector.events.map(({ id }) => id).sort()).toEqual([...appended].sort());
        const positions = collector.events.map(({ position }) => position);
        expect(positions).toEqual([...new Set(positions)].sort());
        for (const stream of streams) {
          const delivered = collector.events.filter((event) => event.stream === stream);
          expect(delivered).toEqual(await readAll(store, stream));
        }
      });
    });

    describe('subscriptions', () => {
      it('deliver history, then what is new, each event once and in order', async () => {
        const stream = newStream();
        const start = await store.head();
        await store.append(stream, 'any', [eventToAppend('Old', { n: 0 }), eventToAppend('Old', { n: 1 })]);
        const collector = new Collector();
        const subscription = store.subscribeToAll({ after: start, handle: collector.handle });
        await collector.until(() => collector.batches.at(-1)?.caughtUp === true);
        expect(collector.events).toHaveLength(2);
        for (let n = 2; n < 20; n++) await made.another.append(stream, 'any', [eventToAppend('New', { n })]);
        await collector.until(() => collector.events.length >= 20);
        await subscription.close();
        await subscription.ended;
        expect(collector.events).toEqual(await readAll(store, stream));
        expect(collector.upTo).toBe(await store.head());
      });

      it('start over from a checkpoint without missing or repeating an event', async () => {
        const stream = newStream();
        const start = await store.head();
        await store.append(
          stream,
          'any',
          Array.from({ length: 30 }, (_, n) => eventToAppend('N', { n })),
        );
        const seen: unknown[] = [];
        let checkpoint = start;
        while (seen.length < 30) {
          let stop: () => void = () => undefined;
          const stopped = new Promise<void>((resolve) => {
            stop = resolve;
          });
          const subscription = store.subscribeToAll({
            after: checkpoint,
            batchSize: 4,
            handle: async ({ events, upTo }) => {
              seen.push(...events.map(({ data }) => data['n']));
              checkpoint = upTo;
              stop();
            },
          });
          await stopped;
          await subscription.close();
        }
        expect(seen).toEqual(Array.from({ length: 30 }, (_, n) => n));
      });

      it('deliver only the categories asked for, and say how far they have come when others went by', async () => {
        const [mine, alsoMine, other] = [newCategory(), newCategory(), newCategory()];
        const start = await store.head();
        for (let n = 0; n < 9; n++) await store.append(newStream([mine, alsoMine, other][n % 3]), 'any', [eventToAppend('N', { n })]);
        await store.append(mine, 'any', [eventToAppend('N', { n: 9 })]);
        await store.append(newStream(`${mine}x`), 'any', [eventToAppend('N', { n: 10 })]);
        const collector = new Collector();
        const subscription = store.subscribeToAll({ after: start, categories: [mine, alsoMine], batchSize: 2, handle: collector.handle });
        const last = await store.append(newStream(other), 'any', [eventToAppend('N', { n: 11 })]);
        await collector.until(() => collector.upTo >= last.position);
        const live = await store.append(newStream(other), 'any', [eventToAppend('N', { n: 12 })]);
        await collector.until(() => collector.upTo >= live.position);
        await subscription.close();
        expect(collector.events.map(({ data }) => data['n'])).toEqual([0, 1, 3, 4, 6, 7, 9]);
        expect(collector.batches.at(-1)).toEqual({ size: 0, upTo: live.position, caughtUp: true });
        expect(Math.max(...collector.batches.map(({ size }) => size))).toBeLessThanOrEqual(2);
      });

      it('hand over one batch at a time and wait for it', async () => {
        const stream = newStream();
        const start = await store.head();
        await store.append(
          stream,
          'any',
          Array.from({ length: 20 }, (_, n) => eventToAppend('N', { n })),
        );
        let running = 0;
        let most = 0;
        const collector = new Collector();
        const subscription = store.subscribeToAll({
          after: start,
          batchSize: 3,
          handle: async (batch) => {
            most = Math.max(most, ++running);
            await store.append(newStream(), 'any', [eventToAppend('Meanwhile')]);
            running--;
            await collector.handle(batch);
          },
        });
        await collector.until(() => collector.events.filter((event) => event.stream === stream).length >= 20);
        await subscription.close();
        expect(most).toBe(1);
      });

      it('end with the error that the handler threw', async () => {
        const start = await store.head();
        const failure = new Error('poison');
        let calls = 0;
        const subscription = store.subscribeToAll({
          after: start,
          handle: async () => {
            calls++;
            throw failure;
          },
        });
        const ended = expect(subscription.ended).rejects.toBe(failure);
        await store.append(newStream(), 'any', [eventToAppend('A')]);
        await ended;
        await store.append(newStream(), 'any', [eventToAppend('B')]);
        await subscription.close();
        expect(calls).toBe(1);
      });

      it('handle the batch under way to its end when they are closed, and nothing after it', async () => {
        const start = await store.head();
        const handled: string[] = [];
        let release: () => void = () => undefined;
        const released = new Promise<void>((resolve) => {
          release = resolve;
        });
        let entered: () => void = () => undefined;
        const inside = new Promise<void>((resolve) => {
          entered = resolve;
        });
        const subscription = store.subscribeToAll({
          after: start,
          batchSize: 1,
          handle: async ({ events }) => {
            entered();
            await released;
            handled.push(...events.map(({ type }) => type));
          },
        });
        await store.append(newStream(), 'any', [eventToAppend('First'), eventToAppend('Second')]);
        await inside;
        const closed = subscription.close();
        release();
        await closed;
        await subscription.ended;
        expect(handled).toEqual(['First']);
      });
    });
  });
}

async function expectConflict(append: Promise<unknown>, stream: string, expected: unknown, actual: number | null): Promise<void> {
  await expect(append).rejects.toBeInstanceOf(WrongExpectedRevisionError);
  await expect(append).rejects.toMatchObject({ stream, expected, actual });
}

function incompressible(length: number): string {
  let text = '';
  while (text.length < length) text += randomUUID();
  return text.slice(0, length);
}
