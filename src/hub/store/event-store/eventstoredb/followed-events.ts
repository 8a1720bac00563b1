import type { AllStreamSubscription } from '@eventstore/db-client';
import type { Position } from '../../../../kernel/position.js';
import { categoryOf, EventStoreUnavailableError, type RecordedEvent } from '../event-store.port.js';
import { type EventStoreDbConnection, type ReadEvent, recordedOf } from './eventstoredb-connection.js';

/** A subscription is paused while this much waits to be taken. */
const MAX_WAITING_EVENTS = 512;
const MAX_WAITING_CHARACTERS = 4 * 1024 * 1024;

export interface Taken {
  readonly events: readonly RecordedEvent[];
  /** Position up to which everything was delivered; null: not known to have moved. */
  readonly upTo: Position | null;
  /** The server has delivered its history, and nothing waits to be taken. */
  readonly caughtUp: boolean;
}

/** One subscription of the server, taken in portions. It never resubscribes: after an error it is over. */
export class FollowedEvents {
  private readonly subscription: AllStreamSubscription;
  private waiting: RecordedEvent[] = [];
  private waitingCharacters = 0;
  private upTo: Position | null = null;
  private caughtUp = false;
  private failure: EventStoreUnavailableError | null = null;
  private wake: () => void = () => undefined;

  constructor(connection: EventStoreDbConnection, after: Position | null, categories?: readonly string[]) {
    this.subscription = connection.subscribe(after, categories, (position) => {
      // What the stream still holds comes before the checkpoint.
      this.drainStream();
      this.advance(position);
    });
    this.subscription.on('caughtUp', () => {
      this.drainStream();
      this.caughtUp = true;
      this.wake();
    });
    this.subscription.on('data', ({ event }: { readonly event?: ReadEvent }) => {
      if (event !== undefined) this.add(event, categories);
    });
    this.subscription.on('error', (error: Error) => {
      this.fail(connection.unavailable(error));
    });
    this.subscription.on('close', () => {
      this.fail(new EventStoreUnavailableError('the subscription to EventStoreDB has ended'));
    });
    this.subscription.on('end', () => {
      this.fail(new EventStoreUnavailableError('the subscription to EventStoreDB has ended'));
    });
  }

  /**
   * Returns at most `limit` events, as soon as there is any progress.
   * @param silenceMs how long to wait for progress
   * @throws EventStoreUnavailableError
   */
  async take(limit: number, silenceMs: number): Promise<Taken> {
    if (!this.hasProgress) await this.progress(silenceMs);
    if (this.waiting.length === 0 && this.failure !== null) throw this.failure;
    const events = this.waiting.splice(0, limit);
    const isEmpty = this.waiting.length === 0;
    if (isEmpty) {
      this.waitingCharacters = 0;
      this.subscription.resume();
    }
    const upTo = isEmpty ? this.upTo : (events.at(-1)?.position ?? null);
    const caughtUp = isEmpty && this.caughtUp && this.subscription.readableLength === 0;
    if (caughtUp) this.caughtUp = false;
    if (isEmpty) this.upTo = null;
    return { events, upTo, caughtUp };
  }

  close(): void {
    this.fail(new EventStoreUnavailableError('the subscription to EventStoreDB was closed'));
    this.subscription.unsubscribe().catch(() => undefined);
    this.subscription.destroy();
  }

  private get hasProgress(): boolean {
    return this.waiting.length > 0 || this.upTo !== null || this.caughtUp || this.failure !== null;
  }

  private async progress(silenceMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.wake = resolve;
      if (silenceMs === Infinity) return;
      timer = setTimeout(() => {
        this.fail(new EventStoreUnavailableError(`the subscription to EventStoreDB was silent for ${silenceMs} ms`));
      }, silenceMs);
    });
    clearTimeout(timer);
  }

  private drainStream(): void {
    while (this.subscription.readableLength > 0) if (this.subscription.read() === null) return;
  }

  private add(event: ReadEvent, categories: readonly string[] | undefined): void {
    if (event.streamId.startsWith('$')) return;
    const recorded = recordedOf(event);
    if (categories === undefined || categories.includes(categoryOf(recorded.stream))) {
      this.waiting.push(recorded);
      this.waitingCharacters += characters(recorded.data);
      if (this.waiting.length >= MAX_WAITING_EVENTS || this.waitingCharacters >= MAX_WAITING_CHARACTERS) this.subscription.pause();
    }
    this.advance(recorded.position);
  }

  private advance(position: Position): void {
    this.upTo = position;
    this.wake();
  }

  private fail(failure: EventStoreUnavailableError): void {
    this.failure ??= failure;
    this.wake();
  }
}

/** Roughly the size of JSON data. */
function characters(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 8;
  return Object.values(value).reduce<number>((sum, member) => sum + 8 + characters(member), 0);
}
