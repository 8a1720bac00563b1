import type { Position } from '../../../kernel/position.js';
import type { HubLease } from '../postgres/hub-lease.js';
import {
  type AppendResult,
  EventStore,
  type EventToAppend,
  type ExpectedRevision,
  type ReadOptions,
  type RecordedEvent,
  type Subscription,
  type SubscriptionOptions,
  TermOverError,
} from './event-store.port.js';

/**
 * Lets a hub append, and read what it decides from, only while its lease is fresh by its own monotonic clock. So a hub that wakes up after another one has
 * taken over does nothing more. A store that checks the term itself also refuses an append that was sent in time and arrives late.
 */
export class FencedEventStore extends EventStore {
  constructor(
    private readonly store: EventStore,
    private readonly lease: Pick<HubLease, 'isFresh' | 'confirm' | 'end'>,
  ) {
    super();
  }

  /** @throws TermOverError when another hub has taken over; errors of the store */
  override async append(stream: string, expected: ExpectedRevision, events: readonly EventToAppend[]): Promise<AppendResult> {
    await this.lease.confirm();
    try {
      return await this.store.append(stream, expected, events);
    } catch (error) {
      if (error instanceof TermOverError) this.lease.end(error.message);
      throw error;
    }
  }

  /** @throws TermOverError when another hub has taken over; errors of the store */
  override read(stream: string, options?: ReadOptions): AsyncIterable<RecordedEvent> {
    return this.lease.isFresh() ? this.store.read(stream, options) : this.readOnceConfirmed(stream, options);
  }

  override subscribeToAll(options: SubscriptionOptions): Subscription {
    return this.store.subscribeToAll(options);
  }

  override head(): Promise<Position | null> {
    return this.store.head();
  }

  private async *readOnceConfirmed(stream: string, options?: ReadOptions): AsyncGenerator<RecordedEvent> {
    await this.lease.confirm();
    yield* this.store.read(stream, options);
  }
}
