import { existsSync, readFileSync } from 'node:fs';
import type { Position } from '../../../kernel/position.js';
import { EventStore, type AppendResult, type EventToAppend, type ExpectedRevision, type ReadOptions } from './event-store.port.js';
import type { RecordedEvent, Subscription, SubscriptionOptions } from './event-store.port.js';

/** Name of the environment variable. For crash tests only; unset, it has no effect. */
export const FAILPOINT_VARIABLE = 'SENDENSE_FAILPOINT';

export interface Failpoint {
  readonly when: 'before' | 'after';
  readonly eventType: string;
  /** Counted from 1: the nth append that contains the event type. */
  readonly nth: number;
}

/** @param text `before:<EventType>:<n>` or `after:<EventType>:<n>`, such as `after:BackupRequested:1` @throws RangeError if malformed */
export function parseFailpoint(text: string): Failpoint {
  const match = /^(before|after):([A-Z][A-Za-z0-9]*):([1-9]\d{0,5})$/.exec(text);
  const [, when, eventType, nth] = match ?? [];
  if (eventType === undefined || nth === undefined) {
    throw new RangeError(`${FAILPOINT_VARIABLE} is ${JSON.stringify(text)}, but must be before:<EventType>:<n> or after:<EventType>:<n>, with n from 1`);
  }
  return { when: when === 'before' ? 'before' : 'after', eventType, nth: Number(nth) };
}

/**
 * @returns the current failpoint: from the variable itself or, for `file:<path>`, from the current text of that file, if it exists
 * @throws RangeError when the variable is malformed
 */
export function failpointSource(variable: string): () => Failpoint | null {
  if (!variable.startsWith('file:/')) {
    const fixed = parseFailpoint(variable);
    return () => fixed;
  }
  const file = variable.slice('file:'.length);
  let text = '';
  let current: Failpoint | null = null;
  return () => {
    const now = existsSync(file) ? readFileSync(file, 'utf8') : '';
    if (now !== text) {
      text = now;
      current = now === '' ? null : parseFailpoint(now);
    }
    return current;
  };
}

/**
 * For crash tests: ends its own process with SIGKILL right before or right after the nth append that contains an event type, counted from when the
 * failpoint was set.
 */
export class FailpointEventStore extends EventStore {
  private asked: Failpoint | null = null;
  private seen = 0;

  constructor(
    private readonly inner: EventStore,
    private readonly failpointNow: () => Failpoint | null,
    private readonly kill: () => void = () => process.kill(process.pid, 'SIGKILL'),
  ) {
    super();
  }

  override async append(stream: string, expected: ExpectedRevision, events: readonly EventToAppend[]): Promise<AppendResult> {
    const failpoint = this.failpointNow();
    if (failpoint !== this.asked) this.seen = 0;
    this.asked = failpoint;
    const hit = failpoint !== null && events.some((event) => event.type === failpoint.eventType) && ++this.seen === failpoint.nth;
    if (hit && failpoint.when === 'before') this.kill();
    const result = await this.inner.append(stream, expected, events);
    if (hit && failpoint.when === 'after') this.kill();
    return result;
  }

  override read(stream: string, options?: ReadOptions): AsyncIterable<RecordedEvent> {
    return this.inner.read(stream, options);
  }

  override subscribeToAll(options: SubscriptionOptions): Subscription {
    return this.inner.subscribeToAll(options);
  }

  override head(): Promise<Position | null> {
    return this.inner.head();
  }
}
