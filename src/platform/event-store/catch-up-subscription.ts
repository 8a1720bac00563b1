import { EventStoreUnavailableError, type Subscription, type SubscriptionOptions } from './event-store.port.js';
import type { LiveTail } from './live-tail.js';

const DEFAULT_BATCH = 500;
const UNAVAILABLE_PAUSE_MS = 250;

/** Delivers page after page, waiting for each to be handled; an unreachable store is waited for. */
export class CatchUpSubscription implements Subscription {
  readonly ended: Promise<void>;
  private readonly closing = new AbortController();

  constructor(
    private readonly tail: LiveTail,
    private readonly options: SubscriptionOptions,
  ) {
    this.ended = this.deliver();
  }

  async close(): Promise<void> {
    this.closing.abort();
    await this.ended.catch(() => undefined);
  }

  /** Asked anew after every wait: the compiler takes a property for unchanged. */
  private closed(): boolean {
    return this.closing.signal.aborted;
  }

  private async deliver(): Promise<void> {
    const { signal } = this.closing;
    const { categories, batchSize = DEFAULT_BATCH } = this.options;
    let after = this.options.after;
    while (!signal.aborted) {
      const page = await this.nextPage(after, batchSize, categories);
      if (page === 'away') continue;
      if (this.closed()) return;
      const upTo = page.complete ? page.head : (page.events.at(-1)?.position ?? null);
      if (upTo === null || upTo <= (after ?? '')) {
        await this.tail.advancedBeyond(after, signal);
        continue;
      }
      await this.options.handle({ events: page.events, upTo, caughtUp: page.complete });
      after = upTo;
    }
  }

  private async nextPage(...[after, limit, categories]: Parameters<LiveTail['pageAfter']>) {
    try {
      return await this.tail.pageAfter(after, limit, categories);
    } catch (error) {
      if (!(error instanceof EventStoreUnavailableError)) throw error;
      await pause(UNAVAILABLE_PAUSE_MS, this.closing.signal);
      return 'away';
    }
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
