import type { Request, Response } from 'express';
import type { Observable } from 'rxjs';
import { DomainError } from '../../../kernel/domain-error.js';
import type { JsonObject } from '../../../kernel/json.js';
import type { EventFeed } from '../../store/event-store/event-feed.js';
import type { EventStore, RecordedEvent } from '../../store/event-store/event-store.port.js';
import { validationProblem } from '../../../lib/http/problem.js';
import { currentRequest } from '../../../lib/http/request-state.js';
import { EventStream, lastEventIdOf, wantsEventStream } from './server-sent-events.js';

export class StreamEventResponse {
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly event_id!: string;
  /** Number within the history, from 0 @example 3 */ readonly revision!: number;
  /** Opaque @example "0000000000000000042" */ readonly position!: string;
  /** @example "SnapshotTaken" */ readonly type!: string;
  /** @example "2026-01-31T10:30:02.120Z" */ readonly time!: string;
  /** @example "node:0199a3c0-2b40-7d10-b1de-64f0a52c9e02" */ readonly actor!: string;
  /** @example "0199a3c4-0000-7000-8000-000000000001" */ readonly correlation_id!: string;
  /** @example {"instant":"2026-01-31T10:30:02.101Z","change_ids":[]} */ readonly data!: JsonObject;
}

export class EventHistoryResponse {
  readonly events!: StreamEventResponse[];
}

/** Describes the live form in a route's description. */
export const FOLLOWED_LIVE =
  'With `Accept: text/event-stream` the history is streamed live: each event under its own name with its revision as id (so `Last-Event-ID` resumes), and ' +
  '`progress` events with the latest figures in between.';

export interface EventHistory {
  readonly stream: string;
  /** Whether the history is complete once events of these types were recorded; a live stream then ends. */
  readonly isAtRest: (types: ReadonlySet<string>) => boolean;
  /** Figures between the events; a slow client gets only the latest. */
  readonly progress: Observable<JsonObject>;
  /** Error to throw if the stream has no events. */
  readonly unknown: DomainError;
}

/**
 * Answers a request with the events of one stream, oldest first: as JSON, or live until the history is complete or the client disconnects.
 * @throws `history.unknown`; HttpProblem 400 for a live stream of the past
 */
export async function answerHistory(store: EventStore, feed: EventFeed, history: EventHistory, request: Request, response: Response): Promise<void> {
  const events: StreamEventResponse[] = [];
  const instant = currentRequest()?.instant ?? null;
  if (instant !== null && wantsEventStream(request)) {
    throw validationProblem([{ field: 'as_of', rule: 'not_live', message: 'as_of has no live stream: ask for application/json' }]);
  }
  for await (const event of untilInstant(store.read(history.stream))) events.push(entryOf(event));
  if (events.length === 0) throw history.unknown;
  if (wantsEventStream(request)) await follow(feed, history, request, response);
  else response.json({ events });
}

/** The events of a stream that the request may see: with `as_of`, those up to its instant. */
export async function* untilInstant(events: AsyncIterable<RecordedEvent>): AsyncGenerator<RecordedEvent, void, undefined> {
  const instant = currentRequest()?.instant ?? null;
  for await (const event of events) {
    if (instant !== null && event.position > (instant.position ?? '')) return;
    yield event;
  }
}

async function follow(feed: EventFeed, { stream: name, isAtRest, progress: figures }: EventHistory, request: Request, response: Response): Promise<void> {
  const seen = lastEventIdOf(request);
  const after = seen !== null && /^\d{1,15}$/.test(seen) ? Number(seen) : -1;
  const stream = new EventStream(request, response);
  const types = new Set<string>();
  /** The latest unsent figures; a slow client does not need older ones. */
  let unsent: JsonObject | null = null;
  await new Promise<void>((resolve, reject) => {
    const progress = figures.subscribe((newer) => {
      const idle = unsent === null;
      unsent = newer;
      if (!idle) return;
      const send = async (): Promise<void> => {
        const newest = unsent;
        unsent = null;
        if (newest !== null) await stream.send({ event: 'progress', data: newest });
      };
      send().catch(reject);
    });
    const events = feed.stream(name).subscribe({
      next: (event) => {
        types.add(event.type);
        if (event.revision > after) {
          stream.send({ id: String(event.revision), event: event.type, data: asJson(entryOf(event)) }).catch(reject);
        }
        if (isAtRest(types)) resolve();
      },
      error: reject,
      complete: resolve,
    });
    stream.signal.addEventListener('abort', () => resolve(), { once: true });
    const leave = (): void => {
      progress.unsubscribe();
      events.unsubscribe();
    };
    stream.signal.addEventListener('abort', leave, { once: true });
  });
  await stream.end();
}

function entryOf(event: RecordedEvent): StreamEventResponse {
  return {
    event_id: event.id,
    revision: event.revision,
    position: event.position,
    type: event.type,
    time: event.metadata.time,
    actor: event.metadata.actor,
    correlation_id: event.metadata.$correlationId,
    data: event.data,
  };
}

/** The class has only plain members, so its JSON is identical. */
function asJson(entry: StreamEventResponse): JsonObject {
  const { event_id, revision, position, type, time, actor, correlation_id, data } = entry;
  return { event_id, revision, position, type, time, actor, correlation_id, data };
}
