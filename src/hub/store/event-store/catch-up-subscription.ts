import { messageOf } from '../../../kernel/error-message.js';
import type { Position } from '../../../kernel/position.js';
import { EventStoreUnavailableError, type Subscription, type SubscriptionOptions } from './event-store.port.js';
import type { Page, PageReader, Tail } from './recent-events.js';
import type { StoreLog } from './store-log.js';

const DEFAULT_BATCH = 500;
const UNAVAILABLE_PAUSE_MS = 250;
/** A shorter outage is an ordinary restart, which the listening connection reports. */
const REPORT_AWAY_AFTER_MS = 10_000;
const REPORT_AWAY_EVERY_MS = 60_000;

/** Delivers pages one by one and waits until each is handled. Waits for an unreachable store. */
export class CatchUpSubscription implements Subscription {
  readonly ended: Promise<void>;
  private readonly closing = new AbortController();
  private readonly reader: PageReader;
  /** performance.now() at the start of the outage, and at its last report. */
  private awaySinceMs: number | null = null;
  private reportedAtMs = -Infinity;

  constructor(
    private readonly tail: Tail,
    private readonly options: SubscriptionOptions,
    private readonly log: StoreLog,
  ) {
    this.reader = tail.reader(options);
    this.ended = this.deliver().finally(() => {
      this.reader.close();
    });
  }

  async close(): Promise<void> {
    this.closing.abort();
    this.reader.close();
    await this.ended.catch(() => undefined);
  }

  /** A method, because the compiler assumes that a property does not change across an await. */
  private closed(): boolean {
    return this.closing.signal.aborted;
  }

  private async deliver(): Promise<void> {
    const { signal } = this.closing;
    const { batchSize = DEFAULT_BATCH } = this.options;
    let after = this.options.after;
    let ahead: Promise<Page | 'away'> | null = null;
    while (!signal.aborted) {
      const page = await (ahead ?? this.nextPage(after, batchSize));
      ahead = null;
      if (page === 'away') continue;
      if (this.closed()) return;
      const { upTo } = page;
      if (upTo === null || upTo <= (after ?? '')) {
        await this.tail.advancedBeyond(after, signal);
        continue;
      }
      if (!page.complete) {
        // Reads the next page of a long history while this one is handled.
        ahead = this.nextPage(upTo, batchSize);
        ahead.catch(() => undefined);
      }
      await this.options.handle({ events: page.events, upTo, caughtUp: page.complete });
      after = upTo;
    }
  }

  private async nextPage(after: Position | null, limit: number): Promise<Page | 'away'> {
    try {
      const page = await this.reader.pageAfter(after, limit);
      this.awaySinceMs = null;
      return page;
    } catch (error) {
      if (!(error instanceof EventStoreUnavailableError)) throw error;
      this.reportAway(error, after);
      await pause(UNAVAILABLE_PAUSE_MS, this.closing.signal);
      return 'away';
    }
  }

  private reportAway(error: EventStoreUnavailableError, after: string | null): void {
    const now = performance.now();
    this.awaySinceMs ??= now;
    if (now - this.awaySinceMs < REPORT_AWAY_AFTER_MS || now - this.reportedAtMs < REPORT_AWAY_EVERY_MS) return;
    this.reportedAtMs = now;
    const whose = this.options.categories === undefined ? 'all categories' : this.options.categories.join(', ');
    const seconds = Math.round((now - this.awaySinceMs) / 1000);
    this.log.warn(
      `event store: events of ${whose} after ${after ?? 'the beginning'} could not be read for ${seconds} s; trying again: ${messageOf(error.cause ?? error)}`,
    );
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}
