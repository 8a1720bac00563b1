import { readFileSync } from 'node:fs';
import type { OpenAPIObject } from '@nestjs/swagger';
import { getMetadataStorage } from 'class-validator';
import type { JsonValue } from '../../../kernel/json.js';

type Schema = Readonly<Record<string, JsonValue>>;
type Parameter = NonNullable<NonNullable<OpenAPIObject['paths'][string]['get']>['parameters']>[number];

interface ClassSchema {
  /** The class and those that it extends. */
  readonly classes: readonly string[];
  readonly type: 'object';
  readonly properties: Readonly<Record<string, Schema>>;
  readonly required: readonly string[];
}

/** Schemas of the API's classes by name, as `bin/api-schemas.mjs` derives them from the source. */
export type ApiSchemas = Readonly<Record<string, ClassSchema>>;

/** A rule as stored by class-validator, whose own declaration types the constraints as any. */
interface Rule {
  readonly type: string;
  readonly name?: string;
  readonly propertyName: string;
  readonly constraints?: readonly unknown[];
  readonly each: boolean;
}

type DtoClass = abstract new (...args: never[]) => object;

/** OpenAPI extension for rules that JSON Schema cannot express; its text names the rule. */
export const RULE_EXTENSION = 'x-sendense-rule';

/** Rules that add nothing to a schema beyond the type of the member. */
const SILENT = new Set(['isDefined', 'isObject', 'isArray', 'isBoolean', 'isNumber', 'isString', 'conditionalValidation', 'nestedValidation']);
/** Rules for the array itself, not for its elements. */
const OF_ARRAYS = new Set(['arrayMinSize', 'arrayMaxSize', 'arrayUnique']);

export function readApiSchemas(file: URL): ApiSchemas {
  // Written by the build of this program.
  return JSON.parse(readFileSync(file, 'utf8')) as ApiSchemas;
}

/**
 * Adds the class-validator rules of requests, so that the code states each limit once.
 * @throws Error for an unknown rule, and for a list of values that contradicts the type of the member
 */
export function withRules(schemas: ApiSchemas): ApiSchemas {
  const rules = new Map([...validatedClasses()].map(([dto, ofClass]) => [dto.name, ofClass]));
  return Object.fromEntries(
    Object.entries(schemas).map(([name, schema]) => {
      const properties = { ...schema.properties };
      for (const rule of schema.classes.flatMap((each) => rules.get(each) ?? [])) {
        const given = properties[rule.propertyName];
        if (given !== undefined) properties[rule.propertyName] = ruled(`${name}.${rule.propertyName}`, given, rule);
      }
      return [name, { ...schema, properties }];
    }),
  );
}

/** All classes with validated members, each with the rules that it declares itself. */
export function validatedClasses(): ReadonlyMap<DtoClass, readonly Rule[]> {
  // The storage keys its entries by class; its declared type is the looser any.
  return (getMetadataStorage() as unknown as { readonly validationMetadatas: ReadonlyMap<DtoClass, readonly Rule[]> }).validationMetadatas;
}

/** Completes the classes that the document names, and adds those to which they refer. */
export function addSchemas(document: OpenAPIObject, schemas: ApiSchemas): void {
  const components = ((document.components ??= {}).schemas ??= {});
  const add = (name: string): void => {
    const schema = schemas[name];
    if (schema === undefined) return;
    const { type, properties, required } = schema;
    components[name] = structuredClone({ type, properties, ...(required.length > 0 && { required }) }) as (typeof components)[string];
    for (const [, other] of JSON.stringify(properties).matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
      if (other !== undefined && components[other] === undefined) add(other);
    }
  };
  Object.keys(components).forEach(add);
}

/** The parameters of a query; none for a class that is not the API's. */
export function queryParameters(schema: ClassSchema | undefined): Parameter[] {
  return Object.entries(schema?.properties ?? {}).map(([name, { description, ...rest }]) => ({
    name,
    in: 'query',
    required: schema?.required.includes(name) ?? false,
    ...(typeof description === 'string' && { description }),
    schema: rest,
  }));
}

function ruled(where: string, given: Schema, rule: Rule): Schema {
  if (given['type'] === 'array' && rule.each && !OF_ARRAYS.has(rule.name ?? '')) {
    return { ...given, items: ruled(where, given['items'] as Schema, { ...rule, each: false }) };
  }
  const schema = schemaOf(rule);
  const isNullable = Array.isArray(given['type']);
  const values = schema['enum'] as readonly JsonValue[] | undefined;
  if (values === undefined) return { ...given, ...schema, ...(schema['type'] !== undefined && isNullable && { type: [schema['type'], 'null'] }) };
  const typed = given['enum'] as readonly JsonValue[] | undefined;
  const allowed = isNullable ? [...values, null] : values;
  if (typed !== undefined && JSON.stringify([...typed].sort()) !== JSON.stringify([...allowed].sort())) {
    throw new Error(`${where} has the type ${JSON.stringify(typed)}, but its rule is ${JSON.stringify(allowed)}`);
  }
  return { ...given, enum: allowed };
}

/** The JSON Schema of a rule. */
function schemaOf(rule: Rule): Schema {
  const name = rule.name ?? rule.type;
  const [first, second] = rule.constraints ?? [];
  if (SILENT.has(name) || SILENT.has(rule.type)) return {};
  switch (name) {
    case 'isInt':
      return { type: 'integer' };
    case 'min':
      return { minimum: Number(first) };
    case 'max':
      return { maximum: Number(first) };
    case 'minLength':
      return { minLength: Number(first) };
    case 'maxLength':
      return { maxLength: Number(first) };
    case 'isLength':
      return { minLength: Number(first), maxLength: Number(second) };
    case 'isNotEmpty':
      return { minLength: 1 };
    case 'arrayMinSize':
      return { minItems: Number(first) };
    case 'arrayMaxSize':
      return { maxItems: Number(first) };
    case 'isUuid':
      return { format: 'uuid' };
    case 'isInstant':
      return { format: 'date-time' };
    case 'isIn':
      return { enum: [...(first as readonly JsonValue[])] };
    case 'matches':
      return { pattern: patternOf(first) };
    case 'arrayUnique':
      return { [RULE_EXTENSION]: 'no two with the same number' };
    case 'numberedBy':
      return { [RULE_EXTENSION]: 'each has its place in the list as its number' };
    case 'nodeUrl':
      return { format: 'uri', [RULE_EXTENSION]: 'http or https, a host and a port, and nothing else' };
    default:
      throw new Error(`the rule ${name} of ${rule.propertyName} has no mapping to the OpenAPI document yet`);
  }
}

/** JSON Schema reads patterns as Unicode; a pattern with other flags would change its meaning there. */
function patternOf(pattern: unknown): string {
  if (!(pattern instanceof RegExp)) throw new Error(`${String(pattern)} is not a regular expression`);
  if (pattern.flags !== '' && pattern.flags !== 'u') throw new Error(`the flags of ${String(pattern)} cannot be documented`);
  return new RegExp(pattern.source, 'u').source;
}
