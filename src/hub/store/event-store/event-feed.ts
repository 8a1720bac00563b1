import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { filter, firstValueFrom, Observable, Subject, timeout } from 'rxjs';
import { EventStore, type RecordedEvent, type Subscription } from './event-store.port.js';

/**
 * New events of the whole store as they are committed, for waiters in memory. All waiters share one subscription. Not durable: a consumer that must not
 * miss an event across a restart reads the store itself.
 */
@Injectable()
export class EventFeed implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly live = new Subject<RecordedEvent>();
  private subscription: Subscription | null = null;
  private markReady: () => void = () => undefined;
  /** Resolves when events are delivered; a reader that reads the store after that misses none. */
  readonly ready = new Promise<void>((resolve) => {
    this.markReady = resolve;
  });

  constructor(private readonly store: EventStore) {}

  async onApplicationBootstrap(): Promise<void> {
    this.subscription = this.store.subscribeToAll({
      after: await this.store.head(),
      handle: (batch) => {
        for (const event of batch.events) this.live.next(event);
        return Promise.resolve();
      },
    });
    this.markReady();
  }

  async onApplicationShutdown(): Promise<void> {
    this.live.complete();
    await this.subscription?.close();
  }

  /** New events of these categories. */
  ofCategories(...categories: readonly string[]): Observable<RecordedEvent> {
    return this.live.pipe(filter((event) => categories.some((category) => event.stream.startsWith(`${category}-`))));
  }

  /** A stream's history, oldest first, then new events, without gaps or duplicates. Never completes by itself. */
  stream(name: string): Observable<RecordedEvent> {
    return new Observable<RecordedEvent>((subscriber) => {
      let delivered = -1;
      let held: RecordedEvent[] | null = [];
      const deliver = (event: RecordedEvent): void => {
        if (event.revision <= delivered) return;
        delivered = event.revision;
        subscriber.next(event);
      };
      const live = this.live.pipe(filter((event) => event.stream === name)).subscribe({
        next: (event) => (held === null ? deliver(event) : void held.push(event)),
        complete: () => subscriber.complete(),
      });
      const replay = async (): Promise<void> => {
        for await (const event of this.store.read(name)) deliver(event);
        for (const event of held ?? []) deliver(event);
        held = null;
      };
      replay().catch((error: unknown) => subscriber.error(error));
      return () => live.unsubscribe();
    });
  }

  /** Returns the first event of the stream, past or future, that the predicate accepts. @throws rxjs TimeoutError after timeoutMs */
  async first(stream: string, accepts: (event: RecordedEvent) => boolean, timeoutMs: number): Promise<RecordedEvent> {
    return firstValueFrom(this.stream(stream).pipe(filter(accepts), timeout({ first: timeoutMs })));
  }
}
