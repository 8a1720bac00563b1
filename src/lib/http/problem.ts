import { HttpException } from '@nestjs/common';
import type { Response } from 'express';
import { STATUS_CODES } from 'node:http';
import { DomainError, type ErrorKind } from '../../kernel/domain-error.js';
import { unknownVariant } from '../../kernel/decider.js';
import type { JsonObject } from '../../kernel/json.js';

/**
 * A refusal about HTTP itself (method, media type, size, headers), thrown only in lib/http and in the hub's own HTTP parts; everything else is a DomainError.
 * Status 500 indicates a defect.
 */
export class HttpProblem extends Error {
  override readonly name = 'HttpProblem';
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly facts: JsonObject = {},
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }
}

/** One broken rule of one member of a request. `field` is a path such as `disks.0.disk_key`; `rule` is stable and snake_case. */
export interface FieldError {
  readonly field: string;
  readonly rule: string;
  readonly message: string;
}

/** Broken rules per answer; a client with more fixes these first. */
export const MAX_ERRORS = 20;
const MAX_FIELD = 200;
const MAX_MESSAGE = 500;

/** The single form of an invalid request: 400 `validation_failed` with all broken rules, up to a limit. */
export function validationProblem(broken: readonly FieldError[]): HttpProblem {
  const errors = broken.slice(0, MAX_ERRORS).map(({ field, rule, message }) => ({ field: shortened(field), rule, message: shortened(message, MAX_MESSAGE) }));
  const count = errors.length === 1 ? 'a rule' : broken.length > MAX_ERRORS ? `more than ${MAX_ERRORS} rules, first of all` : `${errors.length} rules`;
  return new HttpProblem(400, 'validation_failed', `The request breaks ${count}: ${errors.map(({ message }) => message).join('; ')}`, { errors });
}

/** Client-supplied text, truncated for quoting in an answer. */
export function shortened(text: string, length = MAX_FIELD): string {
  return text.length > length ? `${text.slice(0, length).toWellFormed()}…` : text;
}

/** An answer of media type `application/problem+json` (RFC 9457). */
export interface ProblemAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: JsonObject;
  /** True for a defect (500): its stack belongs in the log and never in the answer. */
  readonly unexpected: boolean;
}

export const PROBLEM_MEDIA_TYPE = 'application/problem+json';
const DEFAULT_RETRY_AFTER_SECONDS = 5;
const BEARER_CHALLENGE = 'Bearer realm="sendense"';

/** Translates errors of a program's own libraries, such as a database client; null: not one of them. */
export type ErrorTranslation = (error: unknown) => HttpProblem | null;
export const ERROR_TRANSLATION = Symbol('ERROR_TRANSLATION');
export const noTranslation: ErrorTranslation = () => null;

/** Converts any thrown value into its answer; shared by the filter and by the recording of answers, so that both agree. */
export function problemAnswerOf(
  error: unknown,
  request: { readonly path: string; readonly correlationId: string },
  translate: ErrorTranslation = noTranslation,
): ProblemAnswer {
  const { status, code, detail, facts, headers, unexpected } = describe(error, translate);
  return {
    status,
    headers,
    unexpected,
    body: {
      ...facts,
      type: `urn:sendense:problem:${code}`,
      title: titleOf(code),
      status,
      code,
      detail,
      instance: request.path,
      correlation_id: request.correlationId,
    },
  };
}

interface Description {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly facts: JsonObject;
  readonly headers: Readonly<Record<string, string>>;
  readonly unexpected: boolean;
}

function describe(error: unknown, translate: ErrorTranslation): Description {
  if (error instanceof DomainError) {
    const status = statusOf(error.kind);
    return { status, code: error.code, detail: error.message, facts: error.facts, headers: headersOf(status, error.facts), unexpected: false };
  }
  if (error instanceof HttpProblem) {
    return {
      status: error.status,
      code: error.code,
      detail: error.message,
      facts: error.facts,
      headers: { ...headersOf(error.status, error.facts), ...error.headers },
      unexpected: error.status === 500,
    };
  }
  const translated = translate(error);
  if (translated !== null) return describe(translated, noTranslation);
  if (error instanceof HttpException && error.getStatus() < 500) {
    const status = error.getStatus();
    return { status, code: frameworkCode(status), detail: error.message, facts: {}, headers: headersOf(status, {}), unexpected: false };
  }
  return { status: 500, code: 'internal_error', detail: defectDetail('An unexpected error occurred.'), facts: {}, headers: {}, unexpected: true };
}

/** The public detail of a defect; its cause is only in the log. */
export function defectDetail(what: string): string {
  return `${what} See the log of the service under the correlation id.`;
}

/** The only mapping from the domain's kinds of refusal to HTTP statuses. */
export function statusOf(kind: ErrorKind): number {
  switch (kind) {
    case 'invalid':
      return 400;
    case 'unauthenticated':
      return 401;
    case 'forbidden':
      return 403;
    case 'not_found':
      return 404;
    case 'conflict':
      return 409;
    case 'gone':
      return 410;
    case 'unprocessable':
      return 422;
    case 'upstream_broken':
      return 502;
    case 'unavailable':
    case 'upstream_unreachable':
      return 503;
    case 'upstream_silent':
      return 504;
    case 'storage_full':
      return 507;
    default:
      return unknownVariant('statusOf', kind);
  }
}

function headersOf(status: number, facts: JsonObject): Record<string, string> {
  if (status === 401) return { 'WWW-Authenticate': BEARER_CHALLENGE };
  const asked = facts['retry_after_seconds'];
  if (typeof asked === 'number') return { 'Retry-After': String(Math.max(1, Math.ceil(asked))) };
  return status === 503 ? { 'Retry-After': String(DEFAULT_RETRY_AFTER_SECONDS) } : {};
}

const FRAMEWORK_CODES: Readonly<Record<number, string>> = {
  400: 'bad_request',
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'route_not_found',
  405: 'method_not_allowed',
  406: 'not_acceptable',
  413: 'body_too_large',
  415: 'unsupported_media_type',
  416: 'range_not_satisfiable',
};

function frameworkCode(status: number): string {
  return FRAMEWORK_CODES[status] ?? (STATUS_CODES[status] ?? 'request refused').toLowerCase().replaceAll(/[^a-z]+/g, '_');
}

/** `vm_not_found` -> `VM not found`: the same for every occurrence of a code, as RFC 9457 requires. */
export function titleOf(code: string): string {
  const words = code.replaceAll('_', ' ').replaceAll(/\b(?:vms?|nbd|json)\b/g, (abbreviation) => abbreviation.toUpperCase().replace(/S$/, 's'));
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export function sendProblem(response: Response, answer: ProblemAnswer): void {
  response.status(answer.status).set(answer.headers).type(PROBLEM_MEDIA_TYPE);
  response.send(JSON.stringify(answer.body));
}
