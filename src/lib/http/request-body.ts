import type { NextFunction, Request, RequestHandler, Response } from 'express';
import type { JsonValue } from '../../kernel/json.js';
import { parseSignature } from '../signed-calls/call-signature.js';
import type { NodeCredentials } from '../signed-calls/node-credentials.js';
import { HttpProblem } from './problem.js';
import { checkMediaType, checkedBody } from './request-hygiene.js';
import { requestState } from './request-state.js';

/** 1 MiB: also the largest append that the event store accepts. */
export const MAX_BODY_BYTES = 1024 * 1024;
/** For unauthenticated callers: pairing, and nodes without their own credential, whose longest report fits. */
export const MAX_UNKNOWN_BODY_BYTES = 256 * 1024;
/** The rest of a refused body is read and discarded up to this size; a longer body costs the sender its connection. */
const MAX_IGNORED_BYTES = 64 * 1024;
/** Time that a client whose body is not read has to read the answer before the connection is cut, in milliseconds. */
const LINGER_MS = 2_000;

/**
 * Reads the body of a signed call, which the guard needs to check the signature. It is parsed only after the signature was verified, like any other caller's
 * body.
 */
export function readSignedBody(credentials: NodeCredentials): RequestHandler {
  return (request, _response, next) => {
    const signature = parseSignature(request.headers.authorization);
    if (signature === null || signature === 'malformed' || !hasBody(request)) {
      next();
      return;
    }
    const known = credentials.ownTokens !== null || (signature.nodeId !== null && credentials.ofNode(signature.nodeId) !== null);
    readRaw(request, known ? MAX_BODY_BYTES : MAX_UNKNOWN_BODY_BYTES).then(() => next(), next);
  };
}

/** Reads, parses and checks the body of a request from an authenticated caller. @throws HttpProblem 400, 413 or 415 */
export async function takeBody(request: Request, maxBytes: number): Promise<void> {
  if (!hasBody(request) || request.method === 'GET' || request.method === 'HEAD') return;
  checkMediaType(request);
  const raw = requestState(request).rawBody ?? (await readRaw(request, maxBytes));
  if (raw.byteLength > 0) request.body = checkedBody(parsed(raw));
}

/** An answer must not wait for a body that is never read: the connection closes after the answer, once the client had time to read it. */
export function dropUnreadBody(request: Request, response: Response, next: NextFunction): void {
  const writeHead = response.writeHead.bind(response);
  const dropping = (...given: readonly unknown[]): Response => {
    if (!request.complete && hasBody(request) && !(announcedBytes(request) <= MAX_IGNORED_BYTES)) {
      response.setHeader('Connection', 'close');
      lingerAtEnd(request);
    }
    // `writeHead` has several signatures; the arguments are passed on unchanged.
    return Reflect.apply(writeHead, response, given) as Response;
  };
  response.writeHead = dropping as typeof response.writeHead; // the same signatures, passed through
  next();
}

/** Closing a connection with unread data resets it, and the client may lose the answer: incoming data is discarded for a moment. */
function lingerAtEnd(request: Request): void {
  const { socket } = request;
  socket.destroySoon = () => {
    socket.end();
    request.resume();
    const cut = setTimeout(() => socket.destroy(), LINGER_MS);
    cut.unref();
    socket.once('close', () => {
      clearTimeout(cut);
    });
  };
}

function hasBody(request: Request): boolean {
  return request.headers['transfer-encoding'] !== undefined || announcedBytes(request) > 0;
}

/** NaN when no length is announced. */
function announcedBytes(request: Request): number {
  return Number(request.headers['content-length'] ?? Number.NaN);
}

async function readRaw(request: Request, maxBytes: number): Promise<Uint8Array> {
  if (announcedBytes(request) > maxBytes) throw tooLarge(maxBytes);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  await new Promise<void>((resolve, reject) => {
    const settle = (error: HttpProblem | null): void => {
      request.off('data', onData).off('end', onEnd).off('aborted', onAbort).off('error', onAbort).off('close', onAbort);
      request.pause();
      if (error === null) resolve();
      else reject(error);
    };
    const onData = (chunk: Uint8Array): void => {
      bytes += chunk.byteLength;
      if (bytes > maxBytes) settle(tooLarge(maxBytes));
      else chunks.push(chunk);
    };
    const onEnd = (): void => {
      settle(null);
    };
    const onAbort = (): void => {
      settle(new HttpProblem(400, 'body_incomplete', 'The body ended before its announced length.'));
    };
    request.on('data', onData).on('end', onEnd).on('aborted', onAbort).on('error', onAbort).on('close', onAbort);
  });
  const raw = Buffer.concat(chunks);
  requestState(request).rawBody = raw;
  return raw;
}

/** Parser messages are not passed on: they quote the body, which may hold a secret. */
function parsed(raw: Uint8Array): object {
  let value: JsonValue;
  try {
    // JSON.parse returns JSON by definition; its declared type is the looser any.
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(raw)) as JsonValue;
  } catch {
    throw new HttpProblem(400, 'malformed_json', 'The body is not valid JSON in UTF-8.');
  }
  if (typeof value !== 'object' || value === null) throw new HttpProblem(400, 'malformed_json', 'The body is not a JSON object.');
  return value;
}

function tooLarge(maxBytes: number): HttpProblem {
  return new HttpProblem(413, 'body_too_large', `The body has more than ${maxBytes} bytes.`, { max_bytes: maxBytes });
}
