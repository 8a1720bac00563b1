import type { IncomingMessage } from 'node:http';
import type { CommandContext } from '../../kernel/command-context.js';
import type { Position } from '../../kernel/position.js';

/** What HTTP programs know of one request beyond what its client sent. */
export interface RequestState {
  readonly correlationId: string;
  /** `api:token` or `node:<id>`, set by the guard; `public` before it and on public routes. */
  actor: string;
  /** The enrolled node that has proven to be the caller. */
  nodeId: string | null;
  /** The body as it came; null: there was none. */
  rawBody: Uint8Array | null;
  /** The token that the call was signed with, and the nonce that the answer has to prove itself to; null: not signed. */
  answerTo: { readonly token: string; readonly nonce: string } | null;
  /** The answer shows a secret once: it is not kept for a repeated Idempotency-Key. */
  answerIsSecret: boolean;
  /** The position that a reader of its own writes waits for (`?after=`). */
  after: Position | null;
  /** Set for every request that reached a route. */
  commandContext: CommandContext | null;
}

/** Beside the request instead of on it: nothing a client sends can name or replace these. */
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

/** Path of a URL as the client sent it, without its query. */
export function pathOf(originalUrl: string): string {
  const mark = originalUrl.indexOf('?');
  return mark === -1 ? originalUrl : originalUrl.slice(0, mark);
}
