import type { NextFunction, Request, RequestHandler, Response } from 'express';
import { HttpProblem, type FieldError, validationProblem } from './problem.js';
import { isPosition } from './own-writes.interceptor.js';
import { pathOf, requestState } from './request-state.js';

/** 1 MiB: also the most one append to the event store takes. */
export const MAX_BODY_BYTES = 1024 * 1024;
/** Characters of one query parameter: a path of the longest kind (PATH_MAX) fits. */
const MAX_QUERY_VALUE = 4096;
const MAX_QUERY_PARAMETERS = 50;
/** Characters of one decoded path segment. */
const MAX_PATH_SEGMENT = 1024;
/** Levels of nesting in a body; the deepest legal one has three. */
const MAX_BODY_DEPTH = 32;

/** Headers that stop browsers from guessing and embedding, and caches from keeping what a token opened. */
export function setSafeHeaders(_: Request, response: Response, next: NextFunction): void {
  response.set({
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-store',
  });
  next();
}

/** Refuses what no route may ever see in its path or query, and takes `?after=` of a GET out of the query into the request's state. */
export function checkUrl(request: Request, _: Response, next: NextFunction): void {
  const errors: FieldError[] = [];
  for (const segment of pathOf(request.originalUrl).split('/')) {
    const decoded = decodedOrNull(segment);
    if (decoded === null) {
      errors.push({ field: 'path', rule: 'percent_encoding', message: 'the path has a broken percent-encoding' });
    } else {
      errors.push(...textErrors('path', decoded, MAX_PATH_SEGMENT));
    }
  }
  const query = readQuery(request.originalUrl, errors);
  const state = requestState(request);
  const after = query.get('after');
  if (after !== undefined && (request.method === 'GET' || request.method === 'HEAD')) {
    query.delete('after');
    if (isPosition(after)) state.after = after;
    else errors.push({ field: 'after', rule: 'position', message: 'after must be a position as the ETag of a command gives it, without its quotes' });
  }
  // Express parses the query anew at each access; from here on everyone sees the checked one, each parameter a single text.
  Object.defineProperty(request, 'query', { value: Object.fromEntries(query), writable: true, enumerable: true, configurable: true });
  next(errors.length === 0 ? undefined : validationProblem(errors));
}

function readQuery(originalUrl: string, errors: FieldError[]): Map<string, string> {
  const query = new Map<string, string>();
  const mark = originalUrl.indexOf('?');
  if (mark === -1) return query;
  let count = 0;
  for (const [name, value] of new URLSearchParams(originalUrl.slice(mark + 1))) {
    if (++count > MAX_QUERY_PARAMETERS) {
      errors.push({ field: 'query', rule: 'max_parameters', message: `the query must have at most ${MAX_QUERY_PARAMETERS} parameters` });
      break;
    }
    const field = printable(name);
    if (query.has(name)) errors.push({ field, rule: 'given_once', message: `${field} must be given once` });
    errors.push(...textErrors(field, value, MAX_QUERY_VALUE));
    query.set(name, value);
  }
  return query;
}

/** A body must be JSON: 415 otherwise. */
export function checkMediaType(request: Request, _: Response, next: NextFunction): void {
  // A client that sends "Content-Length: 0" sends no body, though Express takes it for one; for no length at all `is` answers null.
  if (request.headers['content-length'] !== '0' && request.is('application/json') === false) {
    next(
      new HttpProblem(415, 'unsupported_media_type', 'The body must be JSON: send it with "Content-Type: application/json".', {
        accepted: ['application/json'],
      }),
    );
    return;
  }
  next();
}

/** Turns the body parser's errors into problems. Its messages are not passed on, because they quote the body, which may hold a secret. */
export function bodyProblem(error: unknown, _request: Request, _response: Response, next: NextFunction): void {
  const type = typeof error === 'object' && error !== null && 'type' in error && typeof error.type === 'string' ? error.type : '';
  switch (type) {
    case 'entity.parse.failed':
      next(new HttpProblem(400, 'malformed_json', 'The body is not valid JSON.'));
      return;
    case 'entity.too.large':
      next(new HttpProblem(413, 'body_too_large', `The body has more than ${MAX_BODY_BYTES} bytes.`, { max_bytes: MAX_BODY_BYTES }));
      return;
    case 'encoding.unsupported':
    case 'charset.unsupported':
      next(new HttpProblem(415, 'unsupported_media_type', 'The body must be JSON in UTF-8, not compressed.', { accepted: ['application/json'] }));
      return;
    case 'request.aborted':
    case 'request.size.invalid':
      next(new HttpProblem(400, 'body_incomplete', 'The body ended before its announced length.'));
      return;
    default:
      next(error);
  }
}

/** Refuses bodies that are no object, nest too deeply, or hold text that cannot be stored (NUL, unpaired surrogates). */
export const checkBody: RequestHandler = (request, _, next) => {
  const body: unknown = request.body;
  if (body === undefined) {
    next();
    return;
  }
  const errors = Array.isArray(body) ? [{ field: 'body', rule: 'is_object', message: 'the body must be a JSON object' }] : bodyErrors(body);
  next(errors.length === 0 ? undefined : validationProblem(errors));
};

/** Walks with a list of its own instead of recursion: a hostile body must not overflow the stack. */
function bodyErrors(body: unknown): FieldError[] {
  const errors: FieldError[] = [];
  const open: { readonly value: unknown; readonly field: string; readonly depth: number }[] = [{ value: body, field: '', depth: 0 }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { value, field, depth } = next;
    if (typeof value === 'string') errors.push(...textErrors(field, value, MAX_BODY_BYTES));
    if (typeof value !== 'object' || value === null) continue;
    if (depth === MAX_BODY_DEPTH) return [{ field: 'body', rule: 'max_depth', message: `the body must nest at most ${MAX_BODY_DEPTH} levels` }];
    for (const [name, member] of Object.entries(value)) {
      const path = field === '' ? printable(name) : `${field}.${printable(name)}`;
      errors.push(...textErrors(path, name, MAX_BODY_BYTES));
      open.push({ value: member, field: path, depth: depth + 1 });
    }
  }
  return errors;
}

function textErrors(field: string, text: string, maxLength: number): FieldError[] {
  const errors: FieldError[] = [];
  if (text.includes('\0')) errors.push({ field, rule: 'no_nul', message: `${field} must not contain a NUL character` });
  if (!text.isWellFormed()) errors.push({ field, rule: 'well_formed', message: `${field} must be well-formed Unicode` });
  if (text.length > maxLength) errors.push({ field, rule: 'max_length', message: `${field} must have at most ${maxLength} characters` });
  return errors;
}

function decodedOrNull(segment: string): string | null {
  try {
    return decodeURIComponent(segment);
  } catch {
    return null;
  }
}

/** A client's own words, fit to be quoted back: short and without control characters. */
function printable(name: string): string {
  const visible = name.toWellFormed().replaceAll(/\p{Cc}/gu, '\u{fffd}');
  return visible.length > 64 ? `${visible.slice(0, 64)}…` : visible;
}
