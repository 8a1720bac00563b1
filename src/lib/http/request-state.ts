import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingMessage } from 'node:http';
import type { CommandContext } from '../../kernel/command-context.js';
import type { Position } from '../../kernel/position.js';

/** A past instant at which a request reads. */
export interface PastInstant {
  /** The last position recorded at or before it; null: no event was recorded by then. */
  readonly position: Position | null;
  /** ISO 8601. */
  readonly time: string;
}

/** State of one request beyond the client's input. */
export interface RequestState {
  readonly correlationId: string;
  /** `api:token` or `node:<id>`, set by the guard; `public` before it and on public routes. */
  actor: string;
  /** The authenticated enrolled node. */
  nodeId: string | null;
  /** The raw body; null: there was none. */
  rawBody: Uint8Array | null;
  /** The token that signed the call, and the nonce that the answer's proof must cover; null: not signed. */
  answerTo: { readonly token: string; readonly nonce: string } | null;
  /** The answer reveals a secret once: it is not stored for a repeated Idempotency-Key. */
  answerIsSecret: boolean;
  /** The position that a reader of its own writes waits for (`?after=`). */
  after: Position | null;
  /** `?as_of=` as the client sent it. */
  asOf: string | null;
  /** The instant at which the request reads; null: now. */
  instant: PastInstant | null;
  /** Set for every request that reached a route. */
  commandContext: CommandContext | null;
}

/** Kept apart from the request object: no client input can name or replace this state. */
const states = new WeakMap<IncomingMessage, RequestState>();

export function beginRequest(request: IncomingMessage, correlationId: string): RequestState {
  const state: RequestState = {
    correlationId,
    actor: 'public',
    nodeId: null,
    rawBody: null,
    answerTo: null,
    answerIsSecret: false,
    after: null,
    asOf: null,
    instant: null,
    commandContext: null,
  };
  states.set(request, state);
  return state;
}

/** @throws Error when `configureHttp` was not applied to the application */
export function requestState(request: IncomingMessage): RequestState {
  const state = states.get(request);
  if (!state) throw new Error('the request did not pass through configureHttp');
  return state;
}

const current = new AsyncLocalStorage<RequestState>();

/** Runs `work`, including its later promises and timers, as part of a request. */
export function runInRequest<Result>(state: RequestState, work: () => Result): Result {
  return current.run(state, work);
}

/** The request that the caller answers; null outside requests. */
export function currentRequest(): RequestState | null {
  return current.getStore() ?? null;
}

/** Path of a URL as the client sent it, without its query. */
export function pathOf(originalUrl: string): string {
  const mark = originalUrl.indexOf('?');
  return mark === -1 ? originalUrl : originalUrl.slice(0, mark);
}
