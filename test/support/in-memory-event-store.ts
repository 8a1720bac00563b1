import type { Position } from '../../src/kernel/position.js';
import {
  type AppendResult,
  categoryOf,
  EventStore,
  EventStoreUnavailableError,
  type EventToAppend,
  type ExpectedRevision,
  type ReadOptions,
  type RecordedEvent,
  type Subscription,
  type SubscriptionOptions,
  WrongExpectedRevisionError,
} from '../../src/hub/store/event-store/event-store.port.js';
import { checkStorable } from '../../src/hub/store/event-store/storable-event.js';

const DEFAULT_BATCH = 500;

/** The port's rules in memory, for tests of what stands on the store; the contract suite runs on it as on the real adapters. */
export class InMemoryEventStore extends EventStore {
  private readonly all: RecordedEvent[] = [];
  private readonly wakers = new Set<() => void>();
  /** Set to make the store answer as one that is away. */
  unavailable = false;

  async append(stream: string, expected: ExpectedRevision, events: readonly EventToAppend[]): Promise<AppendResult> {
    await this.reach();
    checkStorable(stream, events);
    const there = this.all.filter((event) => event.stream === stream);
    const current = there.length - 1;
    const repeated = alreadyThere(there, expected, events);
    if (repeated) return { revision: repeated.revision, position: repeated.position, idempotent: true };
    const fits =
      typeof expected === 'number' || expected === 'no_stream'
        ? current === (expected === 'no_stream' ? -1 : expected)
        : (expected === 'any' || current >= 0) && !events.some((event) => there.some((stored) => stored.id === event.id));
    if (!fits) throw new WrongExpectedRevisionError(stream, expected, current < 0 ? null : current);

    const added = events.map((event, index) => ({
      ...asStored(event),
      stream,
      revision: current + 1 + index,
      position: String(this.all.length + 1 + index).padStart(19, '0'),
      recordedAt: new Date().toISOString(),
    }));
    const last = added.at(-1);
    if (!last) throw new Error('an append needs at least one event');
    this.all.push(...added);
    for (const wake of [...this.wakers]) wake();
    return { revision: last.revision, position: last.position, idempotent: false };
  }

  async *read(stream: string, options: ReadOptions = {}): AsyncGenerator<RecordedEvent> {
    await this.reach();
    const backwards = options.direction === 'backwards';
    const events = this.all.filter((event) => event.stream === stream && isWithin(event.revision, options.from, backwards));
    if (backwards) events.reverse();
    yield* events.slice(0, options.limit ?? events.length);
  }

  subscribeToAll(options: SubscriptionOptions): Subscription {
    let closed = false;
    const delivering = this.deliver(options, () => closed);
    return {
      ended: delivering,
      close: async () => {
        closed = true;
        for (const wake of [...this.wakers]) wake();
        await delivering.catch(() => undefined);
      },
    };
  }

  async head(): Promise<Position | null> {
    await this.reach();
    return this.all.at(-1)?.position ?? null;
  }

  private async deliver(options: SubscriptionOptions, isClosed: () => boolean): Promise<void> {
    let after = options.after;
    while (!isClosed()) {
      const from = after;
      const next = this.all.filter((event) => from === null || event.position > from).slice(0, options.batchSize ?? DEFAULT_BATCH);
      const last = next.at(-1);
      if (!last) {
        await new Promise<void>((resolve) => {
          const wake = (): void => {
            this.wakers.delete(wake);
            resolve();
          };
          this.wakers.add(wake);
        });
        continue;
      }
      const events = next.filter((event) => !options.categories || options.categories.includes(categoryOf(event.stream)));
      await options.handle({ events, upTo: last.position, caughtUp: last.position === this.all.at(-1)?.position });
      after = last.position;
    }
  }

  /** Takes a turn of the event loop, as a store over a network would. */
  private async reach(): Promise<void> {
    await Promise.resolve();
    if (this.unavailable) throw new EventStoreUnavailableError('the store is away');
  }
}

/** EventStoreDB's idempotency, as the port describes it: the last of the events when all of them are there already where they were expected. */
function alreadyThere(there: readonly RecordedEvent[], expected: ExpectedRevision, events: readonly EventToAppend[]): RecordedEvent | null {
  const first = events[0];
  if (!first) return null;
  let start: number;
  if (expected === 'any' || expected === 'stream_exists') {
    start = there.findIndex((event) => event.id === first.id);
  } else {
    start = expected === 'no_stream' ? 0 : expected + 1;
  }
  if (start < 0 || start >= there.length) return null;
  const same = events.every((event, index) => there[start + index]?.id === event.id);
  return same ? (there[start + events.length - 1] ?? null) : null;
}

function isWithin(revision: number, from: number | undefined, backwards: boolean): boolean {
  if (from === undefined) return true;
  return backwards ? revision <= from : revision >= from;
}

/** What a store gives back is a copy, and only what JSON can carry. */
function asStored(event: EventToAppend): EventToAppend {
  // The round trip through JSON keeps the type of JSON data.
  return { id: event.id, type: event.type, data: JSON.parse(JSON.stringify(event.data)) as EventToAppend['data'], metadata: { ...event.metadata } };
}
