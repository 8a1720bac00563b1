import type { OpenAPIObject } from '@nestjs/swagger';

/** Members whose values are data of the API, not parts of the document. */
const DATA = new Set(['example', 'examples', 'default', 'enum', 'const']);

/**
 * @nestjs/swagger writes `nullable`, which does not exist in OpenAPI 3.1: there, null is an ordinary type (JSON Schema 2020-12).
 * Rewrites the document in place.
 */
export function nullAsType(document: OpenAPIObject): void {
  rewrite(document);
}

function rewrite(node: unknown): void {
  if (typeof node !== 'object' || node === null) return;
  if (!Array.isArray(node) && Reflect.get(node, 'nullable') === true) allowNull(node);
  for (const [name, value] of Object.entries(node)) if (Array.isArray(node) || !DATA.has(name)) rewrite(value);
}

function allowNull(schema: object): void {
  Reflect.deleteProperty(schema, 'nullable');
  const part = (name: string): unknown => Reflect.get(schema, name);
  const parts = part('allOf') ?? part('oneOf') ?? part('anyOf');
  if (Array.isArray(parts)) {
    if ('allOf' in schema && parts.length > 1) throw new Error('a schema made of several parts cannot also be null');
    Reflect.deleteProperty(schema, 'allOf');
    Reflect.deleteProperty(schema, 'oneOf');
    Reflect.set(schema, 'anyOf', [...(parts as unknown[]), { type: 'null' }]);
    // The type documented next to a reference is the type of the reference.
    Reflect.deleteProperty(schema, 'type');
    return;
  }
  const type = part('type');
  if (typeof type !== 'string') throw new Error(`a nullable schema has no type: ${JSON.stringify(schema)}`);
  Reflect.set(schema, 'type', [type, 'null']);
  const values = part('enum');
  if (Array.isArray(values) && !values.includes(null)) Reflect.set(schema, 'enum', [...(values as unknown[]), null]);
}
