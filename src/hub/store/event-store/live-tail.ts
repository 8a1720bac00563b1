import type { Pool, PoolClient } from 'pg';
import { messageOf } from '../../../kernel/error-message.js';
import { fetchHead, fetchPageAfter, type Page } from './event-rows.js';
import type { Position } from '../../../kernel/position.js';
import { categoryOf, type RecordedEvent } from './event-store.port.js';
import type { StoreLog } from './store-log.js';

/** A notification can be lost with its connection, so the head is also polled at this interval. */
const POLL_MS = 1_000;
const RECONNECT_MS = 250;
const FETCH_EVENTS = 500;
/** Number of newest events kept in memory, so that many caught-up subscriptions share one query per new event. */
const KEPT_EVENTS = 1_000;

/** Follows the end of the store over LISTEN/NOTIFY and wakes waiting subscriptions. Runs from the first `start` until `stop`. */
export class LiveTail {
  private running = false;
  private stopping: (() => void) | undefined;
  private following: Promise<void> = Promise.resolve();
  private poll: NodeJS.Timeout | undefined;
  private refreshing = false;
  private refreshAgain = false;
  /** `kept` holds all events after this position; undefined until the head was first read. */
  private keptAfter: Position | null | undefined;
  private kept: RecordedEvent[] = [];
  private readonly waiters = new Set<() => void>();

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
    this.wakeAll();
    await this.following;
  }

  /** Matching events after a position: from memory if they are among the newest, otherwise from the database. */
  async pageAfter(after: Position | null, limit: number, categories?: readonly string[]): Promise<Page> {
    if (this.keptAfter === undefined || (after ?? '') < (this.keptAfter ?? '')) return fetchPageAfter(this.pool, after, limit, categories);
    const newer = this.kept.slice(this.kept.findLastIndex((event) => event.position <= (after ?? '')) + 1);
    const matching = categories === undefined ? newer : newer.filter((event) => categories.includes(categoryOf(event.stream)));
    return { events: matching.slice(0, limit), head: this.head, complete: matching.length <= limit };
  }

  /** Resolves when there is an event after the position, when `signal` is aborted, or after a while; callers check again. */
  async advancedBeyond(after: Position | null, signal: AbortSignal): Promise<void> {
    if (signal.aborted || (this.keptAfter !== undefined && (this.head ?? '') > (after ?? ''))) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.waiters.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.waiters.add(done);
      signal.addEventListener('abort', done);
    });
  }

  private get head(): Position | null {
    return this.kept.at(-1)?.position ?? this.keptAfter ?? null;
  }

  private wakeAll(): void {
    for (const wake of [...this.waiters]) wake();
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
        if (this.keptAfter === undefined) {
          this.keptAfter = await fetchHead(this.pool);
          this.wakeAll();
        }
        const page = await fetchPageAfter(this.pool, this.head, FETCH_EVENTS);
        if (page.events.length > 0) this.keep(page.events);
        if (!page.complete) this.refreshAgain = true;
      }
    } catch {
      // The listening connection reports the outage; a failed read alone is not logged.
    } finally {
      this.refreshing = false;
    }
  }

  private keep(events: readonly RecordedEvent[]): void {
    this.kept.push(...events);
    const surplus = this.kept.length - KEPT_EVENTS;
    if (surplus > 0) {
      this.keptAfter = this.kept[surplus - 1]?.position ?? this.keptAfter;
      this.kept = this.kept.slice(surplus);
    }
    this.wakeAll();
  }
}
