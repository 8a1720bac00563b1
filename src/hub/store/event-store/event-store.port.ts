import type { Position } from '../../../kernel/position.js';
import type { DomainEvent } from '../../../kernel/event.js';
import type { JsonObject } from '../../../kernel/json.js';

/** Metadata of every event. `$correlationId` and `$causationId` (the id of the causing command) are EventStoreDB's names. */
export interface EventMetadata {
  readonly $correlationId: string;
  readonly $causationId: string;
  readonly actor: string;
  readonly hub_id: string;
  readonly schema_version: number;
  /** ISO 8601, UTC: when the event was decided. */
  readonly time: string;
}

export interface EventToAppend {
  /** UUID. The same id means the same event. */
  readonly id: string;
  readonly type: string;
  readonly data: JsonObject;
  readonly metadata: EventMetadata;
}

export interface RecordedEvent<Event extends DomainEvent = DomainEvent> {
  readonly id: string;
  readonly stream: string;
  /** From 0 within the stream. */
  readonly revision: number;
  readonly position: Position;
  readonly type: Event['type'];
  readonly data: Event['data'];
  readonly metadata: EventMetadata;
  /** ISO 8601, UTC, by the store's clock. */
  readonly recordedAt: string;
}

/** A number is the exact revision of the last event that the caller has seen. */
export type ExpectedRevision = 'any' | 'no_stream' | 'stream_exists' | number;

export interface AppendResult {
  /** Revision of the last event appended, or already present. */
  readonly revision: number;
  readonly position: Position;
  /** True if the same events were already present and nothing was written. */
  readonly idempotent: boolean;
}

export interface ReadOptions {
  /** Revision to start at, inclusive. Default: 0 forwards, the end backwards. */
  readonly from?: number;
  readonly direction?: 'forwards' | 'backwards';
  /** Maximum number of events. Default: all. */
  readonly limit?: number;
}

export interface SubscriptionOptions {
  /** Deliver events after this position; null: from the first event. */
  readonly after: Position | null;
  /** Categories (the text before the first `-` of the stream) to deliver. Default: all. */
  readonly categories?: readonly string[];
  /** Maximum number of events per batch. Default 500. */
  readonly batchSize?: number;
  /** Deliver what the store holds, and nothing that this process remembers of it: for audits. Default false. */
  readonly storedOnly?: boolean;
  /**
   * Called with one batch at a time, in order, never concurrently. `upTo` is the position up to which all matching events have been
   * delivered; `events` may be empty if there were only events of other categories. A throw ends the subscription with that error.
   */
  handle(batch: { readonly events: readonly RecordedEvent[]; readonly upTo: Position; readonly caughtUp: boolean }): Promise<void>;
}

export interface Subscription {
  /** Settles when the subscription has ended: resolves after close(), rejects with the error that `handle` threw. */
  readonly ended: Promise<void>;
  /** Stops delivery; resolves once the current batch has been handled. */
  close(): Promise<void>;
}

/** The stream is not at the expected revision, and the events are not the ones already there. */
export class WrongExpectedRevisionError extends Error {
  override readonly name = 'WrongExpectedRevisionError';
  constructor(
    readonly stream: string,
    readonly expected: ExpectedRevision,
    /** null: the stream does not exist. */
    readonly actual: number | null,
  ) {
    super(`stream ${stream}: expected revision ${expected}, but it is at ${actual ?? 'no_stream'}`);
  }
}

/** An append exceeds the limit of 1 MiB (data and metadata of its events as JSON, in bytes). Nothing was written. */
export class AppendTooLargeError extends Error {
  override readonly name = 'AppendTooLargeError';
  constructor(
    readonly stream: string,
    readonly bytes: number,
  ) {
    super(`stream ${stream}: an append of ${bytes} bytes exceeds the limit of ${MAX_APPEND_BYTES} bytes`);
  }
}

/** The store cannot be reached at the moment. The call may be repeated safely (idempotent at exact revisions). */
export class EventStoreUnavailableError extends Error {
  override readonly name = 'EventStoreUnavailableError';
}

/** Another hub has taken over: this one may append nothing any more, and stops. Nothing was written. */
export class TermOverError extends Error {
  override readonly name = 'TermOverError';
}

export const MAX_APPEND_BYTES = 1024 * 1024;

/**
 * The port to the event store; the abstract class is also its injection token.
 *
 * Idempotency follows EventStoreDB. At an exact revision (or `no_stream`) below the current one, an append whose event ids are found from expected+1 on
 * succeeds without a write; any other throws WrongExpectedRevisionError. At the current revision an append always writes. At `any` and `stream_exists`,
 * events whose ids are all in the stream already, in order, succeed without a write.
 */
export abstract class EventStore {
  /**
   * Appends all events or none, in one transaction.
   * @throws WrongExpectedRevisionError, AppendTooLargeError, EventStoreUnavailableError
   */
  abstract append(stream: string, expected: ExpectedRevision, events: readonly EventToAppend[]): Promise<AppendResult>;

  /** Reads events of one stream; a stream that does not exist yields none. @throws EventStoreUnavailableError */
  abstract read(stream: string, options?: ReadOptions): AsyncIterable<RecordedEvent>;

  /** Catch-up subscription over all streams: history first, then live, with no event skipped or out of order. Survives a lost connection. */
  abstract subscribeToAll(options: SubscriptionOptions): Subscription;

  /** Position of the newest event; null in an empty store. @throws EventStoreUnavailableError */
  abstract head(): Promise<Position | null>;
}

/** Category of a stream: the text before the first `-`. */
export function categoryOf(stream: string): string {
  const dash = stream.indexOf('-');
  return dash === -1 ? stream : stream.slice(0, dash);
}
