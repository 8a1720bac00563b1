import type { Position } from '../../../kernel/position.js';
import { categoryOf, type RecordedEvent, type SubscriptionOptions } from './event-store.port.js';

/** Number of newest events kept in memory, so that many caught-up subscriptions share one read per new event. */
const KEPT_EVENTS = 1_000;

/** Part of the history of all streams, or of some categories. */
export interface Page {
  readonly events: readonly RecordedEvent[];
  /** Position up to which the page holds all matching events; null: the store is empty. */
  readonly upTo: Position | null;
  /** False if the page was cut by its limits and there is more. */
  readonly complete: boolean;
}

/** Reads the history for one subscription, page by page. */
export interface PageReader {
  /** @throws EventStoreUnavailableError */
  pageAfter(after: Position | null, limit: number): Promise<Page>;
  close(): void;
}

/** The end of the store, which an adapter follows for all its subscriptions. */
export interface Tail {
  reader(options: Pick<SubscriptionOptions, 'categories' | 'storedOnly'>): PageReader;
  /** Resolves when there may be an event after the position, or when `signal` is aborted; callers check again. */
  advancedBeyond(after: Position | null, signal: AbortSignal): Promise<void>;
}

/** The newest events in memory, and the subscriptions that wait for more. */
export class RecentEvents {
  /** `kept` holds all events after this position; undefined until `begin`. */
  private keptAfter: Position | null | undefined;
  private kept: RecordedEvent[] = [];
  private readonly waiters = new Set<() => void>();

  get hasBegun(): boolean {
    return this.keptAfter !== undefined;
  }

  /** The newest position known. */
  get head(): Position | null {
    return this.kept.at(-1)?.position ?? this.keptAfter ?? null;
  }

  begin(head: Position | null): void {
    this.keptAfter = head;
    this.wakeAll();
  }

  /** @param events directly after `head`, in order */
  keep(events: readonly RecordedEvent[]): void {
    this.kept.push(...events);
    const surplus = this.kept.length - KEPT_EVENTS;
    if (surplus > 0) {
      this.keptAfter = this.kept[surplus - 1]?.position ?? this.keptAfter;
      this.kept = this.kept.slice(surplus);
    }
    this.wakeAll();
  }

  /** Matching events after a position; null if they are not all in memory. */
  pageAfter(after: Position | null, limit: number, categories?: readonly string[]): Page | null {
    if (this.keptAfter === undefined || (after ?? '') < (this.keptAfter ?? '')) return null;
    const newer = this.kept.slice(this.kept.findLastIndex((event) => event.position <= (after ?? '')) + 1);
    const matching = categories === undefined ? newer : newer.filter((event) => categories.includes(categoryOf(event.stream)));
    const events = matching.slice(0, limit);
    const complete = matching.length <= limit;
    return { events, upTo: complete ? this.head : (events.at(-1)?.position ?? null), complete };
  }

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

  wakeAll(): void {
    for (const wake of [...this.waiters]) wake();
  }
}
