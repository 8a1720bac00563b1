import type { Request } from 'express';
import { requestState } from '../../../lib/http/request-state.js';

/** The sender of a request, for the access log. */
export interface RequestReader {
  readonly actor: string;
  readonly correlationId: string;
  /** Address of the connection, not from a header that a client could forge; null: the client has disconnected. */
  readonly sourceAddress: string | null;
}

export function readerOf(request: Request): RequestReader {
  const { actor, correlationId } = requestState(request);
  return { actor, correlationId, sourceAddress: request.socket.remoteAddress ?? null };
}
