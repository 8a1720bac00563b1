import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
export interface JsonMap {
  readonly [name: string]: Json;
}

export interface Operation {
  readonly method: string;
  /** Template, such as `/api/v1/backups/{backup_id}`. */
  readonly path: string;
  readonly definition: JsonMap;
}

export interface GivenAnswer {
  readonly method: string;
  /** Path of the request, with or without a query. */
  readonly path: string;
  readonly status: number;
  readonly contentType: string | null;
  /** null: it was not read, because it is a stream or a file. */
  readonly body: string | null;
}

/** An answer that the OpenAPI document of its hub does not describe. */
export class UndocumentedAnswerError extends Error {
  override readonly name = 'UndocumentedAnswerError';
}

const METHODS = ['get', 'put', 'post', 'delete', 'patch'];
const PROBLEM = 'application/problem+json';
const MAX_SHOWN = 1_500;
/** Keywords of OpenAPI that say nothing about values. */
const ANNOTATIONS = ['example', 'x-sendense-rule', 'components'];
/** What a request may be answered before its route is looked for. */
const CODES_BEFORE_ROUTES = new Map([[400, ['validation_failed']]]);

const UNREAD = new Map([
  ['400 malformed_request', 'MalformedRequest'],
  ['408 request_timeout', 'RequestTimeout'],
  ['417 expectation_failed', 'ExpectationFailed'],
  ['431 headers_too_large', 'HeadersTooLarge'],
]);

/** Holds answers against an OpenAPI 3.1 document, strictly: a member that is not documented is a mismatch. */
export class ApiContract {
  readonly operations: readonly Operation[];
  private readonly ajv: Ajv2020;
  private readonly validators = new Map<string, ValidateFunction>();
  private readonly routes: readonly { readonly pattern: RegExp; readonly parameters: number; readonly operations: readonly Operation[] }[];

  constructor(private readonly document: JsonMap) {
    this.ajv = new Ajv2020({ strict: true, strictTypes: false, strictRequired: false, allErrors: true, verbose: false });
    formats.default(this.ajv);
    for (const keyword of ANNOTATIONS) this.ajv.addVocabulary([keyword]);
    this.ajv.addSchema({ $id: 'api', components: closed(at(document, 'components') ?? {}) });
    const routes = Object.entries(map(at(document, 'paths'))).map(([path, item]) => ({
      pattern: new RegExp(`^${path.replaceAll(/\{[^}]*\}/g, '[^/]+')}/?$`, 'i'),
      parameters: path.split('{').length,
      operations: METHODS.flatMap((method) => {
        const definition = at(item, method);
        return definition === undefined ? [] : [{ method: method.toUpperCase(), path, definition: map(definition) }];
      }),
    }));
    // A route without parameters is the one that is meant where both match.
    this.routes = routes.sort((one, other) => one.parameters - other.parameters);
    this.operations = routes.flatMap(({ operations }) => operations);
  }

  /** The operation that a request reaches; `path` if its path exists for other methods alone. */
  operationOf(method: string, path: string): Operation | 'path' | null {
    const bare = path.replace(/[?#].*$/s, '');
    const wanted = method.toUpperCase() === 'HEAD' ? 'GET' : method.toUpperCase();
    const matching = this.routes.filter(({ pattern }) => pattern.test(bare));
    return matching.flatMap(({ operations }) => operations).find((operation) => operation.method === wanted) ?? (matching.length > 0 ? 'path' : null);
  }

  /** @throws UndocumentedAnswerError naming method, path, status and what is wrong */
  check(answer: GivenAnswer): void {
    const wrong = this.mismatch(answer);
    if (wrong === null) return;
    const body = answer.body === null ? '' : `\nbody: ${answer.body.slice(0, MAX_SHOWN)}`;
    throw new UndocumentedAnswerError(
      `${answer.method} ${answer.path} answered ${answer.status}, which the OpenAPI document does not describe: ${wrong}${body}`,
    );
  }

  /** What of the answer is not documented; null: all is. */
  mismatch(answer: GivenAnswer): string | null {
    const operation = this.operationOf(answer.method, answer.path);
    if (operation === null) return this.outsideRoutes(answer, 404, 'RouteNotFound');
    if (operation === 'path') return this.outsideRoutes(answer, 405, 'MethodNotAllowed');
    const response = at(operation.definition, 'responses', String(answer.status)) ?? this.unread(answer);
    if (response === undefined) return `the status is not documented for ${operation.method} ${operation.path}`;
    return this.bodyMismatch(answer, response);
  }

  /** Validates a request's body, or another value, against a schema of the document. */
  validator(schema: Json): ValidateFunction {
    const key = JSON.stringify(schema);
    const known = this.validators.get(key);
    if (known !== undefined) return known;
    const validate = this.ajv.compile(map(absolute(closed(schema))));
    this.validators.set(key, validate);
    return validate;
  }

  /** A part of the document, with `$ref` followed. */
  resolved(node: Json): JsonMap {
    const reference = at(node, '$ref');
    if (typeof reference !== 'string') return map(node);
    return map(at(this.document, ...reference.replace('#/', '').split('/')));
  }

  /** What is answered to something that was not read as a request, wherever it was sent. */
  private unread({ status, body }: GivenAnswer): Json | undefined {
    const name = UNREAD.get(`${status} ${codeOf(body)}`);
    return name === undefined ? undefined : at(this.document, 'components', 'responses', name);
  }

  private outsideRoutes(answer: GivenAnswer, status: number, name: string): string | null {
    if (CODES_BEFORE_ROUTES.get(answer.status)?.includes(codeOf(answer.body)) === true) return null;
    const unread = this.unread(answer);
    if (unread !== undefined) return this.bodyMismatch(answer, unread);
    if (answer.status !== status) return `no operation is documented for it, and ${status} is expected`;
    return this.bodyMismatch(answer, at(this.document, 'components', 'responses', name) ?? null);
  }

  private bodyMismatch(answer: GivenAnswer, response: Json): string | null {
    if (answer.method.toUpperCase() === 'HEAD') return null;
    const content = at(response, 'content');
    const type = answer.contentType?.split(';')[0]?.trim().toLowerCase() ?? '';
    if (content === undefined) return answer.body === null || answer.body === '' ? null : 'no body is documented';
    const media = at(content, type) ?? at(content, '*/*');
    if (media === undefined) return `its media type "${type}" is not among the documented ones: ${Object.keys(map(content)).join(', ')}`;
    const schema = at(media, 'schema');
    if (answer.body === null || schema === undefined || (type !== 'application/json' && type !== PROBLEM)) return null;
    return this.schemaMismatch(answer.body, schema) ?? (type === PROBLEM ? codeMismatch(answer, media) : null);
  }

  private schemaMismatch(body: string, schema: Json): string | null {
    let value: unknown;
    try {
      value = JSON.parse(body);
    } catch {
      return 'the body is not JSON';
    }
    const validate = this.validator(schema);
    return validate(value) ? null : this.ajv.errorsText(validate.errors, { dataVar: 'body' }).slice(0, MAX_SHOWN) + detailsOf(validate);
  }
}

function detailsOf(validate: ValidateFunction): string {
  const unknown = (validate.errors ?? []).flatMap(({ keyword, instancePath, params }) =>
    keyword === 'additionalProperties' ? [`${instancePath}/${String(params['additionalProperty'])}`] : [],
  );
  return unknown.length === 0 ? '' : ` (undocumented members: ${unknown.join(', ')})`;
}

function codeMismatch(answer: GivenAnswer, media: Json): string | null {
  const code = codeOf(answer.body);
  const documented = Object.keys(map(at(media, 'examples') ?? {}));
  return documented.includes(code) ? null : `its code "${code}" is not documented; there are ${documented.join(', ')}`;
}

function codeOf(body: string | null): string {
  try {
    const value = JSON.parse(body ?? '') as Json;
    const code = at(value, 'code');
    return typeof code === 'string' ? code : '';
  } catch {
    return '';
  }
}

/** The same schema with every object closed that does not say that it is open. */
function closed(node: Json): Json {
  if (typeof node !== 'object' || node === null) return node;
  if (isList(node)) return node.map(closed);
  const copy = Object.fromEntries(
    Object.entries(node).map(([name, value]) => [name, ['example', 'examples', 'default', 'enum'].includes(name) ? value : closed(value)]),
  );
  const isObject = typeof node['properties'] === 'object' && [node['type']].flat().includes('object');
  return isObject && node['additionalProperties'] === undefined ? { ...copy, additionalProperties: false } : copy;
}

/** The same schema with references that hold outside of the document too. */
function absolute(node: Json): Json {
  if (typeof node !== 'object' || node === null) return node;
  if (isList(node)) return node.map(absolute);
  return Object.fromEntries(
    Object.entries(node).map(([name, value]) => [name, name === '$ref' && typeof value === 'string' ? `api${value}` : absolute(value)]),
  );
}

export function at(node: Json | undefined, ...names: readonly string[]): Json | undefined {
  return names.reduce<Json | undefined>((inner, name) => (typeof inner === 'object' && inner !== null && !isList(inner) ? inner[name] : undefined), node);
}

export function map(node: Json | undefined): JsonMap {
  if (typeof node !== 'object' || node === null || isList(node)) throw new Error(`${JSON.stringify(node)} is not an object`);
  return node;
}

/** A text as it is, everything else as JSON. */
export function textOf(value: Json | undefined): string {
  return typeof value === 'string' ? value : JSON.stringify(value ?? null);
}

export function isList(node: Json): node is readonly Json[] {
  return Array.isArray(node);
}
