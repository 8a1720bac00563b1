import type { Pool, PoolClient } from 'pg';
import { messageOf } from '../../../kernel/error-message.js';
import { fetchHead, fetchPageAfter } from './event-rows.js';
import type { Position } from '../../../kernel/position.js';
import type { SubscriptionOptions } from './event-store.port.js';
import { type PageReader, RecentEvents, type Tail } from './recent-events.js';
import type { StoreLog } from './store-log.js';

/** A notification can be lost with its connection, so the head is also polled at this interval. */
const POLL_MS = 1_000;
const RECONNECT_MS = 250;
const FETCH_EVENTS = 500;

/** Follows the end of the store over LISTEN/NOTIFY and wakes waiting subscriptions. Runs from the first `start` until `stop`. */
export class LiveTail implements Tail {
  private running = false;
  private stopping: (() => void) | undefined;
  private following: Promise<void> = Promise.resolve();
  private poll: NodeJS.Timeout | undefined;
  private refreshing = false;
  private refreshAgain = false;
  private readonly recent = new RecentEvents();

  constructor(
    private readonly pool: Pool,
    private readonly log: StoreLog,
  ) {}

  start(): void {
    if (this.running) return;
    this.running = true;
    this.poll = setInterval(() => void this.refresh(), POLL_MS);
    this.following = this.follow();
  }

  async stop(): Promise<void> {
    this.running = false;
    clearInterval(this.poll);
    this.stopping?.();
    this.recent.wakeAll();
    await this.following;
  }

  reader({ categories, storedOnly }: Pick<SubscriptionOptions, 'categories' | 'storedOnly'>): PageReader {
    const recent = storedOnly === true ? null : this.recent;
    return {
      pageAfter: async (after, limit) => recent?.pageAfter(after, limit, categories) ?? fetchPageAfter(this.pool, after, limit, categories),
      close: () => undefined,
    };
  }

  advancedBeyond(after: Position | null, signal: AbortSignal): Promise<void> {
    return this.recent.advancedBeyond(after, signal);
  }

  private async follow(): Promise<void> {
    let away = false;
    while (this.running) {
      try {
        const client = await this.pool.connect();
        if (away) this.log.log('event store: connected again');
        away = false;
        await this.listen(client);
      } catch (error) {
        if (!away) this.log.warn(`event store: cannot listen for new events; trying again: ${messageOf(error)}`);
        away = true;
        await this.pause();
      }
    }
  }

  /** Listens until the connection ends or `stop` is called. */
  private async listen(client: PoolClient): Promise<void> {
    let fail: Error | undefined;
    const ended = new Promise<void>((resolve) => {
      this.stopping = resolve;
      client.on('error', (error) => {
        fail = error;
        resolve();
      });
      client.on('end', () => {
        fail ??= new Error('the connection has ended');
        resolve();
      });
    });
    client.on('notification', () => void this.refresh());
    try {
      await client.query('listen event_store');
      await this.refresh();
      if (this.running) await ended;
    } finally {
      this.stopping = undefined;
      // A listening connection must not serve other queries, so it is closed instead of returned to the pool.
      client.release(true);
    }
    if (fail !== undefined) throw fail;
  }

  private pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, RECONNECT_MS);
      this.stopping = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Reads new events; calls during a read are combined into one more read. Never rejects: the next poll tries again. */
  private async refresh(): Promise<void> {
    this.refreshAgain = true;
    if (this.refreshing) return;
    this.refreshing = true;
    try {
      while (this.refreshAgain && this.running) {
        this.refreshAgain = false;
        if (!this.recent.hasBegun) this.recent.begin(await fetchHead(this.pool));
        const page = await fetchPageAfter(this.pool, this.recent.head, FETCH_EVENTS);
        if (page.events.length > 0) this.recent.keep(page.events);
        if (!page.complete) this.refreshAgain = true;
      }
    } catch {
      // The listening connection reports the outage; a failed read alone is not logged.
    } finally {
      this.refreshing = false;
    }
  }
}
