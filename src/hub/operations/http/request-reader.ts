import type { Request } from 'express';
import { requestState } from '../../../lib/http/request-state.js';

/** Who sent a request, for the access log. */
export interface RequestReader {
  readonly actor: string;
  readonly correlationId: string;
  /** Of the connection, not of a header that a client could write; null: the client has left. */
  readonly sourceAddress: string | null;
}

export function readerOf(request: Request): RequestReader {
  const { actor, correlationId } = requestState(request);
  return { actor, correlationId, sourceAddress: request.socket.remoteAddress ?? null };
}
