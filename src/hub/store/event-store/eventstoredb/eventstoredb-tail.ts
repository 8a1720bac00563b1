import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../../../kernel/error-message.js';
import type { Position } from '../../../../kernel/position.js';
import type { RecordedEvent, SubscriptionOptions } from '../event-store.port.js';
import { type Page, type PageReader, RecentEvents, type Tail } from '../recent-events.js';
import type { StoreLog } from '../store-log.js';
import type { EventStoreDbConnection } from './eventstoredb-connection.js';
import { FollowedEvents } from './followed-events.js';

const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 2_000;
const TAKE_EVENTS = 500;
/** A page of history that is not full is delivered after this long. */
const PAGE_MS = 200;

export interface TailTimes {
  /** Interval at which the newest event is compared with what the subscription has delivered, in milliseconds. */
  readonly checkMs: number;
  /** How long a page of history may be silent, in milliseconds. */
  readonly silenceMs: number;
}

/**
 * Follows the end of the store with one subscription for all caught-up subscriptions of the hub. Subscriptions of the client never resume after an error, and
 * may fall silent without one: a new one begins after the newest event received. Runs from the first `start` until `stop`.
 */
export class EventStoreDbTail implements Tail {
  private readonly recent = new RecentEvents();
  private readonly stopping = new AbortController();
  private following: Promise<void> | null = null;
  private followed: FollowedEvents | null = null;
  private check: NodeJS.Timeout | undefined;
  private readonly readers = new Set<HistoryReader>();

  constructor(
    private readonly connection: EventStoreDbConnection,
    private readonly log: StoreLog,
    private readonly times: TailTimes,
    /** The newest position that an append of this process was answered with. */
    private readonly newestAnswered: () => Position | null,
  ) {}

  start(): void {
    if (this.following !== null) return;
    this.following = this.follow();
    let missedAt: Position | null = null;
    let checking = false;
    this.check = setInterval(() => {
      if (checking || this.followed === null || !this.recent.hasBegun) return;
      checking = true;
      const { followed } = this;
      this.connection
        .newest(this.recent.head)
        .then((newest) => {
          const isBehind = (newest ?? '') > (this.recent.head ?? '');
          if (isBehind && missedAt === this.recent.head && followed === this.followed) {
            this.log.warn(
              `event store: the subscription delivered nothing after ${missedAt ?? 'the beginning'}, although there are newer events; subscribing again`,
            );
            followed.close();
          }
          missedAt = isBehind ? this.recent.head : null;
        })
        // The subscription reports an outage.
        .catch(() => undefined)
        .finally(() => (checking = false));
    }, this.times.checkMs);
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    clearInterval(this.check);
    this.followed?.close();
    for (const reader of this.readers) reader.close();
    this.recent.wakeAll();
    await this.following;
  }

  /** The newest position that this process has seen. */
  get head(): Position | null {
    return this.recent.head;
  }

  reader({ categories, storedOnly }: Pick<SubscriptionOptions, 'categories' | 'storedOnly'>): PageReader {
    const recent = storedOnly === true ? null : this.recent;
    const reader = new HistoryReader(this.connection, recent, categories, this.times, this.newestAnswered, () => this.readers.delete(reader));
    this.readers.add(reader);
    return reader;
  }

  advancedBeyond(after: Position | null, signal: AbortSignal): Promise<void> {
    return this.recent.advancedBeyond(after, signal);
  }

  private async follow(): Promise<void> {
    const { signal } = this.stopping;
    let awayMs = 0;
    while (!signal.aborted) {
      try {
        if (!this.recent.hasBegun) this.recent.begin(await this.connection.newest(null));
        const followed = new FollowedEvents(this.connection, this.recent.head);
        this.followed = followed;
        for (;;) {
          const { events } = await followed.take(TAKE_EVENTS, Infinity);
          if (awayMs > 0) this.log.log('event store: subscribed again');
          awayMs = 0;
          const newer = events.filter(({ position }) => position > (this.recent.head ?? ''));
          if (newer.length > 0) this.recent.keep(newer);
        }
      } catch (error) {
        if (this.hasStopped()) return;
        if (awayMs === 0) this.log.warn(`event store: cannot follow new events; trying again: ${messageOf(error)}`);
        awayMs = Math.min(awayMs === 0 ? FIRST_RETRY_MS : awayMs * 2, LONGEST_RETRY_MS);
        await pause(awayMs, undefined, { signal }).catch(() => undefined);
      } finally {
        this.followed?.close();
        this.followed = null;
      }
    }
  }

  /** A method, because the compiler assumes that a property does not change across an await. */
  private hasStopped(): boolean {
    return this.stopping.signal.aborted;
  }
}

/** Reads history from a subscription of its own until the newest events in memory go on from there. */
class HistoryReader implements PageReader {
  private open: { readonly followed: FollowedEvents; at: Position | null; readonly head: Position | null } | null = null;
  private isClosed = false;

  constructor(
    private readonly connection: EventStoreDbConnection,
    private readonly recent: RecentEvents | null,
    private readonly categories: readonly string[] | undefined,
    private readonly times: TailTimes,
    private readonly newestAnswered: () => Position | null,
    private readonly forget: () => void,
  ) {}

  async pageAfter(after: Position | null, limit: number): Promise<Page> {
    const recent = this.recent?.pageAfter(after, limit, this.categories) ?? null;
    if (recent !== null) {
      this.end();
      // What appends of this process have stored may not have been delivered yet.
      return { ...recent, complete: recent.complete && (recent.upTo ?? '') >= (this.newestAnswered() ?? '') };
    }
    try {
      if (this.open === null || this.open.at !== after) {
        this.end();
        // Read first: once the server has caught up, everything up to this position was delivered.
        const head = await this.connection.newest(null);
        if (head === null || head <= (after ?? '')) return { events: [], upTo: after, complete: true };
        // Closed while it was asked.
        if (this.hasClosed()) return { events: [], upTo: after, complete: true };
        this.open = { followed: new FollowedEvents(this.connection, after, this.categories), at: after, head };
      }
      const { open } = this;
      const page = await this.nextPage(open, limit);
      open.at = page.upTo;
      return page;
    } catch (error) {
      this.end();
      throw error;
    }
  }

  close(): void {
    this.isClosed = true;
    this.end();
    this.forget();
  }

  /** A method, because the compiler assumes that a property does not change across an await. */
  private hasClosed(): boolean {
    return this.isClosed;
  }

  private end(): void {
    this.open?.followed.close();
    this.open = null;
  }

  private async nextPage({ followed, at, head }: NonNullable<typeof this.open>, limit: number): Promise<Page> {
    const events: RecordedEvent[] = [];
    let upTo = at;
    const endsMs = performance.now() + PAGE_MS;
    for (;;) {
      const taken = await followed.take(limit - events.length, this.times.silenceMs);
      events.push(...taken.events);
      if (taken.upTo !== null && taken.upTo > (upTo ?? '')) upTo = taken.upTo;
      if (taken.caughtUp) return { events, upTo: head !== null && head > (upTo ?? '') ? head : upTo, complete: true };
      if (events.length >= limit || performance.now() >= endsMs) return { events, upTo, complete: false };
    }
  }
}
