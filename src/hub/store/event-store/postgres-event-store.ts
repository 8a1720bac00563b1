import type { Pool } from 'pg';
import { AppendQueue } from './append-queue.js';
import { CatchUpSubscription } from './catch-up-subscription.js';
import { fetchHead, fetchStreamPage } from './event-rows.js';
import type { Position } from '../../../kernel/position.js';
import {
  type AppendResult,
  EventStore,
  type EventToAppend,
  type ExpectedRevision,
  type ReadOptions,
  type RecordedEvent,
  type Subscription,
  type SubscriptionOptions,
} from './event-store.port.js';
import { LiveTail } from './live-tail.js';
import { decodePosition } from './position-encoding.js';
import { serialiseAppend } from './storable-event.js';
import type { StoreLog } from './store-log.js';

const PAGE_EVENTS = 500;
const LAST_REVISION = 2 ** 31 - 1;

/** The event store in PostgreSQL, schema `event_store`. While there are subscriptions it uses one connection of the pool for listening. */
export class PostgresEventStore extends EventStore {
  private readonly appends: AppendQueue;
  private readonly tail: LiveTail;
  private readonly subscriptions = new Set<Subscription>();

  /** @param term the caller's term of the hub lease, checked by the store at each append; default: the caller is no hub */
  constructor(
    private readonly pool: Pool,
    private readonly log: StoreLog,
    term: () => number | null = () => null,
  ) {
    super();
    this.appends = new AppendQueue(pool, term);
    this.tail = new LiveTail(pool, log);
  }

  override async append(stream: string, expected: ExpectedRevision, events: readonly EventToAppend[]): Promise<AppendResult> {
    return this.appends.append(stream, expected, serialiseAppend(stream, events));
  }

  override async *read(stream: string, options: ReadOptions = {}): AsyncGenerator<RecordedEvent> {
    const { direction = 'forwards' } = options;
    let from = options.from ?? (direction === 'forwards' ? 0 : LAST_REVISION);
    for (let left = options.limit ?? Infinity; left > 0;) {
      const page = await fetchStreamPage(this.pool, stream, from, direction, Math.min(left, PAGE_EVENTS));
      yield* page.events;
      const last = page.events.at(-1);
      if (page.complete || last === undefined) return;
      left -= page.events.length;
      from = direction === 'forwards' ? last.revision + 1 : last.revision - 1;
    }
  }

  override subscribeToAll(options: SubscriptionOptions): Subscription {
    decodePosition(options.after);
    this.tail.start();
    const subscription = new CatchUpSubscription(this.tail, options, this.log);
    this.subscriptions.add(subscription);
    const forget = (): void => void this.subscriptions.delete(subscription);
    subscription.ended.then(forget, forget);
    return subscription;
  }

  override async head(): Promise<Position | null> {
    return fetchHead(this.pool);
  }

  /** Ends all subscriptions and the listening connection. The caller still owns the pool. */
  async close(): Promise<void> {
    await Promise.all([...this.subscriptions].map((subscription) => subscription.close()));
    await this.tail.stop();
  }
}
