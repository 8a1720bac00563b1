import type { OpenAPIObject } from '@nestjs/swagger';

type PathItem = OpenAPIObject['paths'][string];
type Operation = NonNullable<PathItem['get']>;
type Response = Operation['responses'][string];
type Content = Record<string, { readonly schema?: unknown; readonly example?: unknown; readonly examples?: unknown }>;

const METHODS = ['get', 'put', 'post', 'delete', 'patch'] as const;
const PROBLEM = 'application/problem+json';
const MAX_DEPTH = 12;

/**
 * Holds a document against what its readers need: each route has a summary, a tag, described parameters with examples, a body and answers with schema
 * and example, and error answers that name their codes.
 * @throws Error that lists everything that is missing
 */
export function assertOpenApiComplete(document: OpenAPIObject): void {
  const missing = missingInOpenApi(document);
  if (missing.length > 0) throw new Error(`the OpenAPI document is not complete:\n${missing.map((each) => `- ${each}`).join('\n')}`);
}

/** What `assertOpenApiComplete` complains about, one line each. */
export function missingInOpenApi(document: OpenAPIObject): string[] {
  const missing: string[] = [];
  const operationIds = new Set<string>();
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of METHODS) {
      const operation = item[method];
      if (!operation) continue;
      const route = `${method.toUpperCase()} ${path}`;
      missing.push(...missingInOperation(document, operation).map((what) => `${route}: ${what}`));
      const id = operation.operationId ?? '';
      if (id === '') missing.push(`${route}: no operationId`);
      else if (operationIds.has(id)) missing.push(`${route}: operationId ${id} is taken by another route`);
      operationIds.add(id);
    }
  }
  const templates = new Map<string, string>();
  const tags = new Map<string, string>();
  for (const [path, item] of Object.entries(document.paths)) {
    const template = path.replaceAll(/\{\w+\}/g, '{}');
    const other = templates.get(template);
    if (other !== undefined) missing.push(`${path}: the specification takes it for the same path as ${other}`);
    templates.set(template, path);
    for (const tag of METHODS.flatMap((method) => item[method]?.tags ?? [])) {
      const spelling = tags.get(tag.toLowerCase()) ?? tag;
      if (spelling !== tag) missing.push(`${path}: its tag ${tag} is spelt ${spelling} elsewhere`);
      tags.set(tag.toLowerCase(), spelling);
    }
  }
  if (Object.keys(document.paths).length === 0) missing.push('there is no route at all');
  return missing;
}

function missingInOperation(document: OpenAPIObject, operation: Operation): string[] {
  const missing: string[] = [];
  if (!operation.summary) missing.push('no summary');
  if (!operation.tags?.length) missing.push('no tag');
  for (const parameter of operation.parameters ?? []) {
    const resolved = resolve(document, parameter);
    const name = String(member(resolved, 'name'));
    const isPath = member(resolved, 'in') === 'path';
    if (!isPath && !member(resolved, 'description')) missing.push(`parameter ${name} has no description`);
    const schema = member(resolved, 'schema');
    if (!isObject(schema) || Object.keys(schema).length === 0) missing.push(`parameter ${name} has no schema`);
    else if (!isPath && !hasOwnExample(resolved) && !hasExample(document, schema, 0)) missing.push(`parameter ${name} has no example`);
  }
  const body = resolve(document, operation.requestBody);
  if (isObject(body)) missing.push(...missingInContent(document, member(body, 'content'), 'the body'));
  return [...missing, ...missingInResponses(document, operation)];
}

function missingInResponses(document: OpenAPIObject, operation: Operation): string[] {
  const missing: string[] = [];
  const responses = Object.entries(operation.responses);
  const successes = responses.filter(([status]) => /^[23]/.test(status));
  const failures = responses.filter(([status]) => /^[45]/.test(status));
  if (successes.length === 0) missing.push('no successful answer');
  if (failures.length === 0) missing.push('no error answer');
  for (const [status, response] of successes) {
    const resolved = resolve(document, response);
    if (status !== '204' && !/^3/.test(status)) missing.push(...missingInContent(document, member(resolved, 'content'), `answer ${status}`));
  }
  for (const [status, response] of failures) missing.push(...missingInFailure(document, status, response));
  return missing;
}

function missingInFailure(document: OpenAPIObject, status: string, response: Response | undefined): string[] {
  const problem = member(member(resolve(document, response), 'content'), PROBLEM);
  if (!isObject(problem)) return [`answer ${status} is not documented as ${PROBLEM}`];
  const examples = member(problem, 'examples');
  const codes = isObject(examples) ? Object.keys(examples) : [];
  return codes.length === 0 ? [`answer ${status} names no error code`] : [];
}

function missingInContent(document: OpenAPIObject, content: unknown, where: string): string[] {
  if (!isObject(content) || Object.keys(content).length === 0) return [`${where} has no schema`];
  // Checked to be an object just above; its members are media type objects by the format.
  return Object.entries(content as Content).flatMap(([mediaType, media]) => {
    if (!isObject(media.schema) || Object.keys(media.schema).length === 0) return [`${where} has no schema (${mediaType})`];
    if (hasOwnExample(media)) return [];
    return examplelessMembers(document, media.schema, 0).map((name) => `${where} has no example${name === '' ? '' : ` for ${name}`}`);
  });
}

function hasOwnExample(object: unknown): boolean {
  return isObject(object) && ('example' in object || ('examples' in object && isObject(object['examples']) && Object.keys(object['examples']).length > 0));
}

function hasExample(document: OpenAPIObject, schema: unknown, depth: number): boolean {
  return examplelessMembers(document, schema, depth).length === 0;
}

/** Paths of the members of a schema for which a reader has neither example nor a closed set of values; '' is the schema itself. */
function examplelessMembers(document: OpenAPIObject, schema: unknown, depth: number): string[] {
  const resolved = resolve(document, schema);
  // A schema that contains itself has its examples on the way down.
  if (!isObject(resolved) || depth > MAX_DEPTH) return [];
  if (['example', 'examples', 'default', 'const', 'enum'].some((name) => name in resolved)) return [];
  const alternatives = member(resolved, 'oneOf') ?? member(resolved, 'anyOf');
  if (Array.isArray(alternatives)) return alternatives.some((each) => hasExample(document, each, depth + 1)) ? [] : [''];
  const parts = member(resolved, 'allOf');
  if (Array.isArray(parts)) return parts.flatMap((part) => examplelessMembers(document, part, depth + 1));
  if ('items' in resolved) return examplelessMembers(document, resolved['items'], depth + 1).map((name) => `[]${name === '' ? '' : `.${name}`}`);
  const properties = member(resolved, 'properties');
  if (isObject(properties)) {
    return Object.entries(properties).flatMap(([name, property]) =>
      examplelessMembers(document, property, depth + 1).map((inner) => (inner === '' ? name : `${name}.${inner}`)),
    );
  }
  return [''];
}

function resolve(document: OpenAPIObject, node: unknown): unknown {
  const reference = member(node, '$ref');
  if (typeof reference !== 'string') return node;
  const target = reference
    .replace(/^#\//, '')
    .split('/')
    .reduce<unknown>((at, name) => member(at, name), document);
  if (target === undefined) throw new Error(`the OpenAPI document refers to ${reference}, which is not there`);
  return target;
}

function member(node: unknown, name: string): unknown {
  return isObject(node) ? node[name] : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
