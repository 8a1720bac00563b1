import type { NestExpressApplication } from '@nestjs/platform-express';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { ROUTE_ARGS_METADATA } from '@nestjs/common/constants.js';
import { RouteParamtypes } from '@nestjs/common/enums/route-paramtypes.enum.js';
import { ModulesContainer } from '@nestjs/core';
import type { NextFunction, Request, Response } from 'express';
import { ACCESS_TOKENS, type AccessTokens, apiActorOf, basicPasswordOf, bearerTokenOf } from '../../../lib/http/access-tokens.js';
import { ACCESS_EXTENSION } from '../../../lib/http/bearer.guard.js';
import { PRESENT_EXTENSION } from '../../../lib/http/query.guard.js';
import { PROBLEM_MEDIA_TYPE, problemAnswerOf, sendProblem } from '../../../lib/http/problem.js';
import { FieldErrorSchema, NODE_EXTENSION, Problem, problemResponse, UnreadProblem, unreadResponse } from '../../../lib/http/problem-responses.decorator.js';
import { DomainError } from '../../../kernel/domain-error.js';
import { POSITION_PATTERN } from '../../../kernel/position.js';
import { addSchemas, type ApiSchemas, queryParameters, withRules } from './open-api-schemas.js';
import { AS_OF_POSITION_HEADER, AS_OF_TIME_HEADER } from './as-of.interceptor.js';
import { Refusals } from '../../../lib/http/refusals.js';
import { pathOf, requestState } from '../../../lib/http/request-state.js';
import { UuidParam } from './uuid-param.pipe.js';
import { LARGEST_WHOLE_NUMBER, WholeNumberParam } from './whole-number-param.pipe.js';

export interface OpenApiOptions {
  readonly title: string;
  readonly description: string;
  readonly version: string;
  readonly schemas: ApiSchemas;
}

/** The page may use only its own scripts and styles and inline images, connect only to its own origin, and not be framed. */
const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export const DOCS_PATH = '/api/docs';
export const DOCUMENT_PATH = '/api/openapi.json';

type PathItem = OpenAPIObject['paths'][string];
type Operation = NonNullable<PathItem['get']>;
type Parameter = NonNullable<Operation['parameters']>[number];
interface RouteArgument {
  readonly index: number;
  readonly data?: unknown;
  readonly pipes: readonly unknown[];
}
interface OperationParameters {
  readonly path: ReadonlyMap<string, ParameterSchema>;
  readonly query: readonly Parameter[];
}
type ParameterSchema = { readonly type: string; readonly format?: string; readonly minimum?: number; readonly maximum?: number };

const WHAT_HOLDS_EVERYWHERE =
  'Refusals are problem details (RFC 9457) with a stable `code`. An unknown path is 404 `route_not_found`; a path that does not support ' +
  'the method is 405 `method_not_allowed`, with the supported methods in `Allow`. Every GET also supports HEAD. Invalid HTTP/1.1 never reaches a route: 400 ' +
  '`malformed_request`, 408 `request_timeout`, 413 `body_too_large`, 417 `expectation_failed`, 431 `headers_too_large`.';

const CORRELATION_PARAMETER: Parameter = {
  name: 'X-Correlation-Id',
  in: 'header',
  required: false,
  description: 'UUID for the logs and events of this request; if omitted, the hub creates one',
  schema: { type: 'string', format: 'uuid' },
  example: '0193a5c2-8a00-7000-8000-000000000001',
};
const IDEMPOTENCY_PARAMETER: Parameter = {
  name: 'Idempotency-Key',
  in: 'header',
  required: false,
  description:
    'The same key returns the original answer, even after a restart and weeks later; with another body it is refused (422). A refusal that recorded nothing leaves the key unused',
  schema: { type: 'string', pattern: '^[!-~]{1,200}$' },
  example: 'nightly-2026-11-21',
};
const AFTER_PARAMETER: Parameter = {
  name: 'after',
  in: 'query',
  required: false,
  description: 'Answer only once the read models have reached this position: the ETag of a command, without its quotes',
  schema: { type: 'string', pattern: POSITION_PATTERN },
  example: '0000000000000000042',
};

const AS_OF_PARAMETER: Parameter = {
  name: 'as_of',
  in: 'query',
  required: false,
  description:
    'Answer as of this time, or of this position, from what had been recorded by then. Progress has the last value that it had in the state of that time',
  schema: {
    oneOf: [
      { type: 'string', format: 'date-time' },
      { type: 'string', pattern: POSITION_PATTERN },
    ],
  },
  example: '2026-11-21T10:30:30Z',
};
const AS_OF_HEADERS = {
  [AS_OF_POSITION_HEADER]: {
    description: 'With `as_of`: the position that the answer stands for; absent if no event had been recorded',
    schema: { type: 'string' as const },
    example: '0000000000000000042',
  },
  [AS_OF_TIME_HEADER]: {
    description: 'With `as_of`: the time that the answer stands for',
    schema: { type: 'string' as const, format: 'date-time' },
    example: '2026-11-21T10:30:30.000Z',
  },
};

/** Answers without an operation, because the request did not reach one. */
const ANSWERS_OUTSIDE_ROUTES = {
  MalformedRequest: unreadResponse(400, 'malformed_request'),
  RequestTimeout: unreadResponse(408, 'request_timeout'),
  ChunkExtensionsTooLarge: unreadResponse(413, 'body_too_large'),
  ExpectationFailed: unreadResponse(417, 'expectation_failed'),
  HeadersTooLarge: unreadResponse(431, 'headers_too_large'),
  RouteNotFound: problemResponse(404, ['route_not_found']),
  MethodNotAllowed: {
    ...problemResponse(405, ['method_not_allowed']),
    headers: { Allow: { description: 'The methods that the path supports', schema: { type: 'string' }, example: 'GET, HEAD' } },
  },
};

/** The OpenAPI document of all controllers, completed with the rules that hold for every route. */
export function openApiDocument(app: NestExpressApplication, options: OpenApiOptions): OpenAPIObject {
  const config = new DocumentBuilder()
    .setTitle(options.title)
    .setDescription(`${options.description}\n\n${WHAT_HOLDS_EVERYWHERE}`)
    .setVersion(options.version)
    .setOpenAPIVersion('3.1.0')
    .addBearerAuth({ type: 'http', scheme: 'bearer', description: 'The API token' }, 'api_token')
    .addBearerAuth({ type: 'http', scheme: 'bearer', description: "A node's token" }, 'node_token')
    .build();
  const schemas = withRules(options.schemas);
  const document = SwaggerModule.createDocument(app, config, { extraModels: [Problem, UnreadProblem, FieldErrorSchema] });
  addSchemas(document, schemas);
  const parameters = parametersOf(app, schemas);
  for (const item of Object.values(document.paths)) completePath(item, parameters);
  closeRequests(document);
  // The facts of an error are additional members next to the documented ones.
  const problem = document.components?.schemas?.[Problem.name];
  if (problem !== undefined && !('$ref' in problem)) problem.additionalProperties = true;
  document.components ??= {};
  document.components.responses = { ...document.components.responses, ...ANSWERS_OUTSIDE_ROUTES };
  return document;
}

/**
 * Serves the document and its page. Both require the API token: as a bearer token or, so that a browser can open them, as the password of Basic
 * authentication (any user name). Basic is valid for nothing else: a browser repeats it automatically, so a foreign page could exploit it.
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
    const error = new DomainError(
      'unauthenticated',
      presented === null ? 'token_missing' : 'token_invalid',
      'This page requires the API token as the password.',
    );
    const path = pathOf(request.originalUrl);
    const answer = problemAnswerOf(error, { path, correlationId: requestState(request).correlationId });
    const headers = { 'WWW-Authenticate': 'Basic realm="sendense: any name, the API token as password", charset="UTF-8"' };
    void refusals
      .refused({ sourceAddress: request.socket.remoteAddress ?? null, code: error.code, method: request.method, path })
      .then(() => sendProblem(response, { ...answer, headers }));
  };
  app.use([DOCS_PATH, DOCUMENT_PATH], guard);
  // A browser that was given the hub's address alone.
  app
    .getHttpAdapter()
    .getInstance()
    .get('/', (_request, response) => {
      response.redirect(DOCS_PATH);
    });
  SwaggerModule.setup(DOCS_PATH, app, () => openApiDocument(app, options), {
    jsonDocumentUrl: DOCUMENT_PATH,
    raw: ['json'],
    customSiteTitle: options.title,
    swaggerOptions: { displayRequestDuration: true },
  });
}

/** Parameters of each operation: of a query from its class, of a path the schemas of the pipes that validate them. */
function parametersOf(app: NestExpressApplication, schemas: ApiSchemas): ReadonlyMap<string, OperationParameters> {
  const parameters = new Map<string, OperationParameters>();
  for (const module of app.get(ModulesContainer).values()) {
    for (const { metatype: controller } of module.controllers.values()) {
      if (typeof controller !== 'function') continue;
      const prototype = controller.prototype as object;
      for (const method of Object.getOwnPropertyNames(prototype)) {
        const declared: unknown = Reflect.getMetadata(ROUTE_ARGS_METADATA, controller, method);
        const types = (Reflect.getMetadata('design:paramtypes', prototype, method) ?? []) as readonly { readonly name: string }[];
        const path = new Map<string, ParameterSchema>();
        const query: Parameter[] = [];
        for (const [key, { index, data, pipes }] of Object.entries(declared ?? {}) as [string, RouteArgument][]) {
          if (key.startsWith(`${RouteParamtypes.QUERY}:`) && data === undefined) query.push(...queryParameters(schemas[types[index]?.name ?? '']));
          if (!key.startsWith(`${RouteParamtypes.PARAM}:`) || typeof data !== 'string') continue;
          if (pipes.includes(UuidParam)) path.set(data, { type: 'string', format: 'uuid' });
          if (pipes.includes(WholeNumberParam)) path.set(data, { type: 'integer', minimum: 0, maximum: LARGEST_WHOLE_NUMBER });
        }
        parameters.set(`${controller.name}_${method}`, { path, query });
      }
    }
  }
  return parameters;
}

/** Requests refuse members that are not documented, at every level; reports of nodes may have more, because a node may be newer. */
function closeRequests(document: OpenAPIObject): void {
  const open = Object.values(document.paths)
    .flatMap((item) => [item.post, item.put, item.patch, item.delete])
    .flatMap((operation) => (operation === undefined || accessOf(operation) === 'node' ? [] : [operation.requestBody]));
  const seen = new Set<string>();
  const follow = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const [name, value] of Object.entries(node) as [string, unknown][]) {
      if (name !== '$ref' || typeof value !== 'string') {
        follow(value);
        continue;
      }
      const schemaName = value.slice(value.lastIndexOf('/') + 1);
      const schema = document.components?.schemas?.[schemaName];
      if (schema === undefined || '$ref' in schema || seen.has(schemaName)) continue;
      seen.add(schemaName);
      schema.additionalProperties = false;
      follow(schema);
    }
  };
  open.forEach(follow);
}

function completePath(item: PathItem, parameters: ReadonlyMap<string, OperationParameters>): void {
  for (const operation of [item.get, item.post, item.put, item.patch, item.delete]) {
    const { path, query } = parameters.get(operation?.operationId ?? '') ?? {};
    for (const parameter of operation?.parameters ?? []) {
      const schema = 'name' in parameter && parameter.in === 'path' ? path?.get(parameter.name) : undefined;
      if ('name' in parameter && schema !== undefined) parameter.schema = schema;
    }
    if (operation !== undefined) operation.parameters = [...(operation.parameters ?? []), ...(query ?? [])];
  }
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
  const hasPast = !isCommand && access === 'api' && Reflect.get(operation, PRESENT_EXTENSION) !== true;
  if (hasPast) {
    add(AS_OF_PARAMETER);
    const answer = operation.responses['200'];
    if (answer !== undefined && !('$ref' in answer)) answer.headers = { ...answer.headers, ...AS_OF_HEADERS };
  }

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
  if (Reflect.get(operation, NODE_EXTENSION) === true) {
    also(409, 'node_not_enrolled', 'node_revoked');
    also(502, 'node_broken_answer', 'node_not_proven', 'node_refused_token');
    also(503, 'node_unreachable');
    also(504, 'node_silent');
  }
  if (access === 'public') return;
  also(401, 'token_missing', 'token_invalid');
  also(401, 'signature_malformed', 'signature_invalid', 'clocks_differ', 'call_repeated', 'node_revoked', 'node_not_enrolled');
  also(403, access === 'node' ? 'node_token_needed' : 'api_token_needed');
  also(503, 'storage_unavailable');
  if (!isCommand && access === 'api') also(503, 'read_model_behind');
  if (hasPast) also(503, 'history_incomplete', 'projection_halted');
}

/** Adds the codes of the checks before every handler to the handler's own list. */
function addCodes(operation: Operation, status: number, codes: readonly string[]): void {
  const given = operation.responses[String(status)];
  const content = given !== undefined && 'content' in given ? given.content?.[PROBLEM_MEDIA_TYPE] : undefined;
  // Another kind of answer with the same status (a health report) stays unchanged.
  if (given !== undefined && content === undefined) return;
  operation.responses[String(status)] = problemResponse(status, [...new Set([...Object.keys(content?.examples ?? {}), ...codes])]);
}

function accessOf(operation: Operation): 'public' | 'node' | 'api' {
  const marked: unknown = Reflect.get(operation, ACCESS_EXTENSION);
  return marked === 'public' || marked === 'node' ? marked : 'api';
}
