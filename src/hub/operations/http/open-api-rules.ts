import 'reflect-metadata';
import { getMetadataStorage } from 'class-validator';
import type { JsonObject, JsonValue } from '../../../kernel/json.js';

type Schema = Readonly<Record<string, JsonValue>>;

/** A rule as stored by class-validator, whose own declaration types the constraints as any. */
interface Rule {
  readonly type: string;
  readonly name?: string;
  readonly propertyName: string;
  readonly constraints?: readonly unknown[];
  readonly each: boolean;
}

type DtoClass = abstract new (...args: never[]) => object;

/** Metadata key under which @nestjs/swagger stores `@ApiProperty` data. */
const DESCRIBED = 'swagger/apiModelProperties';
/** OpenAPI extension for rules that JSON Schema cannot express; its text names the rule. */
export const RULE_EXTENSION = 'x-sendense-rule';

/** Rules that add nothing to a schema beyond the type of the member. */
const SILENT = new Set(['isDefined', 'isObject', 'isArray', 'isBoolean', 'isNumber', 'isString', 'conditionalValidation', 'nestedValidation']);

/**
 * Copies the class-validator rules of requests into the OpenAPI document, so that the code states each limit once.
 * Idempotent. @throws Error for an unknown rule, and for a rule that contradicts the documentation of the member
 */
export function describeRules(): void {
  for (const [dto, rules] of validatedClasses()) {
    for (const rule of rules) describeRule(dto, rule);
  }
}

/** All classes with validated members, each with the rules that it declares itself. */
export function validatedClasses(): ReadonlyMap<DtoClass, readonly Rule[]> {
  // The storage keys its entries by class; its declared type is the looser any.
  return (getMetadataStorage() as unknown as { readonly validationMetadatas: ReadonlyMap<DtoClass, readonly Rule[]> }).validationMetadatas;
}

function describeRule(dto: DtoClass, rule: Rule): void {
  const prototype = dto.prototype as object;
  const described = Reflect.getOwnMetadata(DESCRIBED, prototype, rule.propertyName) as JsonObject | undefined;
  // Configuration files are validated too, but belong to no document.
  if (described === undefined) return;
  const schema = schemaOf(rule);
  for (const [keyword, value] of Object.entries(schema)) {
    const given = described[keyword];
    if (given !== undefined && keyword !== 'type' && JSON.stringify(given) !== JSON.stringify(value)) {
      throw new Error(`${dto.name}.${rule.propertyName} is documented with ${keyword} ${JSON.stringify(given)}, but its rule is ${JSON.stringify(value)}`);
    }
  }
  Reflect.defineMetadata(DESCRIBED, { ...described, ...schema }, prototype, rule.propertyName);
}

/** The JSON Schema of a rule. @nestjs/swagger moves keywords of array elements to the elements. */
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
