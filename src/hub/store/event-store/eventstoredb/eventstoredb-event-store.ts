import { setTimeout as pause } from 'node:timers/promises';
import type { Position } from '../../../../kernel/position.js';
import { CatchUpSubscription } from '../catch-up-subscription.js';
import {
  type AppendResult,
  AppendTooLargeError,
  EventStore,
  EventStoreUnavailableError,
  type EventToAppend,
  type ExpectedRevision,
  MAX_APPEND_BYTES,
  type ReadOptions,
  type RecordedEvent,
  type Subscription,
  type SubscriptionOptions,
} from '../event-store.port.js';
import type { CopyState } from '../copy-state.js';
import { serialiseAppend } from '../storable-event.js';
import type { StoreLog } from '../store-log.js';
import { AppendUnansweredError, EventStoreDbConnection, type EventStoreDbOptions, type ServerFacts } from './eventstoredb-connection.js';
import { EventStoreDbTail } from './eventstoredb-tail.js';
import { decodePair } from './position-pair.js';

const APPEND_PATIENCE_MS = 5_000;
const APPEND_RETRY_MS = 100;
const APPENDS_UNDER_WAY = 128;
const CHECK_MS = 1_000;
const SILENCE_MS = 15_000;
/** The server counts the type of an event in UTF-16. */
const BYTES_PER_TYPE_CHARACTER = 2;

export interface EventStoreDbStoreOptions extends EventStoreDbOptions {
  /** Interval at which the subscription is compared with the newest event, in milliseconds. Default 1,000. */
  readonly checkMs?: number;
  /** How long a subscription that reads history may deliver nothing, in milliseconds. Default 15,000. */
  readonly silenceMs?: number;
  /** For how long an append that was not answered is repeated, in milliseconds; callers have their own, longer patience. Default 5,000. */
  readonly appendPatienceMs?: number;
}

/**
 * The event store in EventStoreDB, 23.10 or newer; it belongs to this hub alone. `idempotent` in the answer of an append is true only if this process had seen
 * an event as new as the answer's before: the server does not say whether it wrote.
 */
export class EventStoreDbEventStore extends EventStore {
  private readonly connection: EventStoreDbConnection;
  private readonly tail: EventStoreDbTail;
  private readonly subscriptions = new Set<Subscription>();
  /** The newest position that appends were answered with. */
  private newestAnswered: Position | null = null;
  private readonly appendPatienceMs: number;

  /** @throws RangeError if the URL is invalid; errors of `fs` if the certificates cannot be read */
  constructor(
    options: EventStoreDbStoreOptions,
    private readonly log: StoreLog,
  ) {
    super();
    this.appendPatienceMs = options.appendPatienceMs ?? APPEND_PATIENCE_MS;
    this.connection = new EventStoreDbConnection(options);
    const times = { checkMs: options.checkMs ?? CHECK_MS, silenceMs: options.silenceMs ?? SILENCE_MS };
    this.tail = new EventStoreDbTail(this.connection, log, times, () => this.newestAnswered);
  }

  /** Host names and ports of the server, without credentials. */
  get name(): string {
    return this.connection.name;
  }

  override async append(stream: string, expected: ExpectedRevision, events: readonly EventToAppend[]): Promise<AppendResult> {
    const bytes = serialiseAppend(stream, events).bytes + events.reduce((sum, { type }) => sum + BYTES_PER_TYPE_CHARACTER * type.length, 0);
    if (bytes > MAX_APPEND_BYTES) throw new AppendTooLargeError(stream, bytes);
    const knownBefore = newer(this.newestAnswered, this.tail.head);
    const patienceEndsMs = performance.now() + this.appendPatienceMs;
    // The same ids at an exact revision are written once; otherwise a repetition is safe only if nothing was stored.
    const mayRepeat = typeof expected === 'number' || expected === 'no_stream';
    for (let attempt = 1; ; attempt++) {
      try {
        const { revision, position } = await this.connection.append(stream, expected, events, bytes);
        this.newestAnswered = newer(this.newestAnswered, position);
        return { revision, position, idempotent: attempt === 1 && position <= (knownBefore ?? '') };
      } catch (error) {
        const isWorthwhile = error instanceof AppendUnansweredError && (mayRepeat || error.notStored) && performance.now() < patienceEndsMs;
        if (!isWorthwhile) throw error;
        if (!error.notStored) await pause(APPEND_RETRY_MS);
      }
    }
  }

  override async *read(stream: string, options: ReadOptions = {}): AsyncGenerator<RecordedEvent> {
    const { direction = 'forwards', limit = Infinity } = options;
    const from = options.from ?? (direction === 'forwards' ? 0 : 'end');
    if (limit <= 0 || (from !== 'end' && from < 0)) return;
    yield* this.connection.read(stream, from, direction, limit);
  }

  override subscribeToAll(options: SubscriptionOptions): Subscription {
    if (options.after !== null) decodePair(options.after);
    this.tail.start();
    const subscription = new CatchUpSubscription(this.tail, options, this.log);
    this.subscriptions.add(subscription);
    const forget = (): void => void this.subscriptions.delete(subscription);
    subscription.ended.then(forget, forget);
    return subscription;
  }

  override async head(): Promise<Position | null> {
    return this.connection.newest(newer(this.newestAnswered, this.tail.head));
  }

  /**
   * For a program that only copies: many appends at exact revisions are under way at once and are stored in this order. After an error the first of them are
   * stored, or all; the same appends may be repeated.
   * @throws as `append`
   */
  async appendInOrder(
    appends: readonly { readonly stream: string; readonly expected: ExpectedRevision; readonly events: readonly EventToAppend[] }[],
  ): Promise<void> {
    // The first one opens the connection: others that waited for that would start in any order.
    for (let next = 0, count = 1; next < appends.length; next += count, count = APPENDS_UNDER_WAY) {
      const under = appends.slice(next, next + count).map(async ({ stream, expected, events }) => {
        await this.connection.append(stream, expected, events, serialiseAppend(stream, events).bytes, true);
      });
      const errors = (await Promise.allSettled(under)).flatMap((one): unknown[] => (one.status === 'rejected' ? [one.reason] : []));
      if (errors.length > 0) throw errors.find((error) => error instanceof EventStoreUnavailableError) ?? errors[0];
    }
  }

  markCopy(state: CopyState): Promise<void> {
    return this.connection.markCopy(state);
  }

  copyState(): Promise<CopyState | null> {
    return this.connection.copyState();
  }

  /** @throws EventStoreUnavailableError */
  facts(): Promise<ServerFacts> {
    return this.connection.facts();
  }

  /** Ends all subscriptions and the connection. */
  async close(): Promise<void> {
    await Promise.all([...this.subscriptions].map((subscription) => subscription.close()));
    await this.tail.stop();
    await this.connection.close();
  }
}

function newer(one: Position | null, other: Position | null): Position | null {
  return (one ?? '') > (other ?? '') ? one : other;
}
