import type { NestExpressApplication } from '@nestjs/platform-express';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import type { NextFunction, Request, Response } from 'express';
import { ACCESS_TOKENS, type AccessTokens, apiActorOf, basicPasswordOf, bearerTokenOf } from './access-tokens.js';
import { ACCESS_EXTENSION } from './bearer.guard.js';
import { PROBLEM_MEDIA_TYPE, problemAnswerOf, sendProblem } from './problem.js';
import { FieldErrorSchema, Problem, problemResponse } from './problem-responses.decorator.js';
import { DomainError } from '../../kernel/domain-error.js';
import { Refusals } from './refusals.js';
import { pathOf, requestState } from './request-state.js';

export interface OpenApiOptions {
  readonly title: string;
  readonly description: string;
  readonly version: string;
}

/** The page is of its own files: scripts and styles of ours, pictures also inline; no other place to send anything to, and no page around it. */
const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export const DOCS_PATH = '/api/docs';
export const DOCUMENT_PATH = '/api/openapi.json';

type PathItem = OpenAPIObject['paths'][string];
type Operation = NonNullable<PathItem['get']>;
type Parameter = NonNullable<Operation['parameters']>[number];

const CORRELATION_PARAMETER: Parameter = {
  name: 'X-Correlation-Id',
  in: 'header',
  required: false,
  description: 'UUID that logs and events of this request carry; a new one is made without it',
  schema: { type: 'string', format: 'uuid' },
  example: '0193a5c2-8a00-7000-8000-000000000001',
};
const IDEMPOTENCY_PARAMETER: Parameter = {
  name: 'Idempotency-Key',
  in: 'header',
  required: false,
  description:
    'The same key gives the original answer, also after a restart and weeks later; with another body it is refused (422). A refusal that recorded nothing leaves the key unused',
  schema: { type: 'string', minLength: 1, maxLength: 200 },
  example: 'nightly-2026-11-21',
};
const AFTER_PARAMETER: Parameter = {
  name: 'after',
  in: 'query',
  required: false,
  description: 'Answer only once the read models stand at this position: the ETag of a command, without its quotes',
  schema: { type: 'string' },
  example: '0000000000000000042',
};

/** The OpenAPI document of all controllers, with what holds for every route added. */
export function openApiDocument(app: NestExpressApplication, options: OpenApiOptions): OpenAPIObject {
  const config = new DocumentBuilder()
    .setTitle(options.title)
    .setDescription(options.description)
    .setVersion(options.version)
    .addBearerAuth({ type: 'http', scheme: 'bearer', description: 'The API token' }, 'api_token')
    .addBearerAuth({ type: 'http', scheme: 'bearer', description: "A node's token" }, 'node_token')
    .build();
  const document = SwaggerModule.createDocument(app, config, { extraModels: [Problem, FieldErrorSchema] });
  for (const item of Object.values(document.paths)) completePath(item);
  return document;
}

/**
 * Serves the document and its page. Both need the API token: as a bearer, or, so that a browser can open them, as the password of Basic
 * authentication (any user name). Basic opens nothing else: a browser repeats it unasked, so a foreign page could use it.
 */
export function serveOpenApi(app: NestExpressApplication, options: OpenApiOptions): void {
  const tokens = app.get<AccessTokens>(ACCESS_TOKENS, { strict: false });
  const refusals = app.get(Refusals, { strict: false });
  const guard = (request: Request, response: Response, next: NextFunction): void => {
    const { authorization } = request.headers;
    const presented = bearerTokenOf(authorization) ?? basicPasswordOf(authorization);
    if (presented !== null && apiActorOf(tokens, presented) !== null) {
      response.set('Content-Security-Policy', PAGE_POLICY);
      next();
      return;
    }
    const error = new DomainError('unauthenticated', presented === null ? 'token_missing' : 'token_invalid', 'The API token opens this page, as a password.');
    const path = pathOf(request.originalUrl);
    const answer = problemAnswerOf(error, { path, correlationId: requestState(request).correlationId });
    const headers = { 'WWW-Authenticate': 'Basic realm="sendense: any name, the API token as password", charset="UTF-8"' };
    void refusals
      .refused({ sourceAddress: request.socket.remoteAddress ?? null, code: error.code, method: request.method, path })
      .then(() => sendProblem(response, { ...answer, headers }));
  };
  app.use([DOCS_PATH, DOCUMENT_PATH], guard);
  SwaggerModule.setup(DOCS_PATH, app, () => openApiDocument(app, options), {
    jsonDocumentUrl: DOCUMENT_PATH,
    raw: ['json'],
    customSiteTitle: options.title,
    swaggerOptions: { displayRequestDuration: true },
  });
}

function completePath(item: PathItem): void {
  if (item.get) completeOperation(item.get, false);
  for (const command of [item.post, item.put, item.patch, item.delete]) if (command) completeOperation(command, true);
}

function completeOperation(operation: Operation, isCommand: boolean): void {
  const access = accessOf(operation);
  const parameters = (operation.parameters ??= []);
  const add = (parameter: Parameter): void => {
    if (!parameters.some((given) => 'name' in given && 'name' in parameter && given.name === parameter.name)) parameters.push(parameter);
  };
  add(CORRELATION_PARAMETER);
  if (isCommand) add(IDEMPOTENCY_PARAMETER);
  else if (access === 'api') add(AFTER_PARAMETER);

  operation.security = access === 'public' ? [] : [{ [access === 'node' ? 'node_token' : 'api_token']: [] }];
  const also = (status: number, ...codes: readonly string[]): void => {
    addCodes(operation, status, codes);
  };
  also(400, 'validation_failed');
  also(500, 'internal_error');
  if (isCommand) {
    also(400, 'malformed_json', 'body_incomplete');
    also(409, 'command_in_progress');
    also(413, 'body_too_large');
    also(415, 'unsupported_media_type');
    also(422, 'idempotency_key_reused');
    also(500, 'event_rejected');
    also(503, 'storage_unavailable', 'stream_contended');
  }
  if (access === 'public') return;
  also(401, 'token_missing', 'token_invalid');
  also(401, 'signature_malformed', 'signature_invalid', 'clocks_differ', 'call_repeated', 'node_revoked', 'node_not_enrolled');
  also(403, access === 'node' ? 'node_token_needed' : 'api_token_needed');
  also(503, 'storage_unavailable');
  if (!isCommand && access === 'api') also(503, 'read_model_behind');
}

/** A route's own list says what its handler answers; what stands before every handler is added to it. */
function addCodes(operation: Operation, status: number, codes: readonly string[]): void {
  const given = operation.responses[String(status)];
  const content = given !== undefined && 'content' in given ? given.content?.[PROBLEM_MEDIA_TYPE] : undefined;
  // Another kind of answer under the same status (a health report) stays as it is.
  if (given !== undefined && content === undefined) return;
  operation.responses[String(status)] = problemResponse(status, [...new Set([...Object.keys(content?.examples ?? {}), ...codes])]);
}

function accessOf(operation: Operation): 'public' | 'node' | 'api' {
  const marked: unknown = Reflect.get(operation, ACCESS_EXTENSION);
  return marked === 'public' || marked === 'node' ? marked : 'api';
}
