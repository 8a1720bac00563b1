import type { NextFunction, Request, Response } from 'express';
import { HttpProblem, type FieldError, MAX_ERRORS, shortened, validationProblem } from './problem.js';
import { isPosition } from '../../kernel/position.js';
import { pathOf, requestState } from './request-state.js';

/** Characters of one query parameter: the longest path (PATH_MAX) fits. */
const MAX_QUERY_VALUE = 4096;
const MAX_QUERY_PARAMETERS = 50;
/** Characters of one decoded path segment. */
const MAX_PATH_SEGMENT = 1024;
/** Nesting levels of a body; the deepest valid one has three. */
const MAX_BODY_DEPTH = 32;

/** Headers that stop browsers from sniffing and embedding, and caches from storing authenticated answers. */
export function setSafeHeaders(_: Request, response: Response, next: NextFunction): void {
  response.set({
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-store',
  });
  next();
}

/** Refuses paths and queries that no route may ever see, and moves `?after=` and `?as_of=` of a GET from the query into the request's state. */
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
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  const after = query.get('after');
  if (after !== undefined && isRead) {
    query.delete('after');
    if (isPosition(after)) state.after = after;
    else errors.push({ field: 'after', rule: 'position', message: 'after must be a position from the ETag of a command, without the quotes' });
  }
  if (isRead) {
    state.asOf = query.get('as_of') ?? null;
    query.delete('as_of');
  }
  // Express parses the query at each access; from here on all code sees the checked one, with one string per parameter.
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
    if (isReservedName(name)) errors.push({ field, rule: 'unknown_field', message: `property ${field} should not exist` });
    if (query.has(name)) errors.push({ field, rule: 'given_once', message: `${field} must be given once` });
    errors.push(...textErrors(field, value, MAX_QUERY_VALUE));
    query.set(name, value);
  }
  return query;
}

/** A body must be JSON in UTF-8, not compressed. @throws HttpProblem 415 otherwise */
export function checkMediaType(request: Request): void {
  const encoding = request.headers['content-encoding'] ?? 'identity';
  const charset = /;\s*charset\s*=\s*"?([^\s;"]*)/i.exec(request.headers['content-type'] ?? '')?.[1] ?? 'utf-8';
  if (request.is('application/json') !== false && encoding.toLowerCase() === 'identity' && /^utf-?8$/i.test(charset)) return;
  throw new HttpProblem(415, 'unsupported_media_type', 'The body must be JSON in UTF-8, not compressed: send it with "Content-Type: application/json".', {
    accepted: ['application/json'],
  });
}

/** Refuses bodies that are not objects, nest too deeply, or hold text that cannot be stored (NUL, unpaired surrogates). @throws HttpProblem 400 */
export function checkedBody(body: object): object {
  const errors = Array.isArray(body) ? [{ field: 'body', rule: 'is_object', message: 'the body must be a JSON object' }] : bodyErrors(body);
  if (errors.length > 0) throw validationProblem(errors);
  return body;
}

/** Iterative instead of recursive: a hostile body must not overflow the stack. */
function bodyErrors(body: unknown): FieldError[] {
  const errors: FieldError[] = [];
  const open: { readonly value: unknown; readonly field: string; readonly depth: number }[] = [{ value: body, field: '', depth: 0 }];
  for (let next = open.pop(); next !== undefined && errors.length < MAX_ERRORS; next = open.pop()) {
    const { value, field, depth } = next;
    if (typeof value === 'string') errors.push(...textErrors(field, value, Infinity));
    if (typeof value !== 'object' || value === null) continue;
    if (depth === MAX_BODY_DEPTH) return [{ field: 'body', rule: 'max_depth', message: `the body must nest at most ${MAX_BODY_DEPTH} levels` }];
    for (const [name, member] of Object.entries(value)) {
      const path = field === '' ? printable(name) : shortened(`${field}.${printable(name)}`);
      if (isReservedName(name)) errors.push({ field: path, rule: 'unknown_field', message: `property ${path} should not exist` });
      errors.push(...textErrors(path, name, Infinity));
      open.push({ value: member, field: path, depth: depth + 1 });
    }
  }
  return errors;
}

/** Names that validation would find on every object (`toString`), and one that its pipe removes silently (`prototype`). */
function isReservedName(name: string): boolean {
  return name in Object.prototype || name === 'prototype';
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

/** Client-supplied text made safe for quoting: short and without control characters. */
export function printable(name: string): string {
  const visible = name.toWellFormed().replaceAll(/\p{Cc}/gu, '\u{fffd}');
  return visible.length > 64 ? `${visible.slice(0, 64)}…` : visible;
}
