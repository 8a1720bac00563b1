import { Logger } from '@nestjs/common';
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
import { Recording } from './recording.js';

/** Returns why an event must not be stored; null: it may be stored. */
export type EventCheck = (stream: string, event: EventToAppend) => string | null;

/** The read models cannot hold this event. This is a defect in the code that created it; nothing was written. */
export class EventRejectedError extends Error {
  override readonly name = 'EventRejectedError';
  constructor(
    readonly stream: string,
    readonly type: string,
    readonly reason: string,
  ) {
    super(`stream ${stream}: ${type} was rejected: ${reason}`);
  }
}

/**
 * Checks every event before it is appended: events are permanent, and one that no read model can hold would halt them all. Also marks the request's
 * recording as having appended events.
 */
export class CheckedEventStore extends EventStore {
  private readonly logger = new Logger('EventStore');

  constructor(
    private readonly store: EventStore,
    private readonly check: EventCheck = () => null,
  ) {
    super();
  }

  /** @throws EventRejectedError before anything is written; errors of the store */
  override async append(stream: string, expected: ExpectedRevision, events: readonly EventToAppend[]): Promise<AppendResult> {
    for (const event of events) {
      const reason = this.check(stream, event);
      if (reason === null) continue;
      const rejected = new EventRejectedError(stream, event.type, reason);
      this.logger.error(`${rejected.message} (correlation id ${event.metadata.$correlationId}, actor ${event.metadata.actor})`);
      throw rejected;
    }
    const recording = Recording.current;
    await recording?.begin();
    const result = await this.store.append(stream, expected, events);
    recording?.appended();
    return result;
  }

  override read(stream: string, options?: ReadOptions): AsyncIterable<RecordedEvent> {
    return this.store.read(stream, options);
  }

  override subscribeToAll(options: SubscriptionOptions): Subscription {
    return this.store.subscribeToAll(options);
  }

  override head(): Promise<Position | null> {
    return this.store.head();
  }
}
