import 'reflect-metadata';
import { getMetadataStorage } from 'class-validator';
import type { JsonObject, JsonValue } from '../../../kernel/json.js';

type Schema = Readonly<Record<string, JsonValue>>;

/** One rule as class-validator keeps it; its own declaration types the constraints any. */
interface Rule {
  readonly type: string;
  readonly name?: string;
  readonly propertyName: string;
  readonly constraints?: readonly unknown[];
  readonly each: boolean;
}

type DtoClass = abstract new (...args: never[]) => object;

/** Where @nestjs/swagger keeps what `@ApiProperty` says of a member. */
const DESCRIBED = 'swagger/apiModelProperties';
/** OpenAPI extension that marks rules which JSON Schema cannot say; the text names the rule. */
export const RULE_EXTENSION = 'x-sendense-rule';

/** Rules that say nothing about a schema beyond the type that its member has anyway. */
const SILENT = new Set(['isDefined', 'isObject', 'isArray', 'isBoolean', 'isNumber', 'isString', 'conditionalValidation', 'nestedValidation']);

/**
 * Writes the rules that class-validator holds requests against into what the OpenAPI document says of their members, so that a limit stands in the code once.
 * Doing it again changes nothing. @throws Error for a rule that is not known here, and for one that the member's own description contradicts
 */
export function describeRules(): void {
  for (const [dto, rules] of validatedClasses()) {
    for (const rule of rules) describeRule(dto, rule);
  }
}

/** Every class that has validated members, with the rules that it declares itself. */
export function validatedClasses(): ReadonlyMap<DtoClass, readonly Rule[]> {
  // The storage keys its entries by class; its declared type is the looser any.
  return (getMetadataStorage() as unknown as { readonly validationMetadatas: ReadonlyMap<DtoClass, readonly Rule[]> }).validationMetadatas;
}

function describeRule(dto: DtoClass, rule: Rule): void {
  const prototype = dto.prototype as object;
  const described = Reflect.getOwnMetadata(DESCRIBED, prototype, rule.propertyName) as JsonObject | undefined;
  // Configuration files are validated too, and are in no document.
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

/** What a rule is in JSON Schema. Keywords of the elements of an array are moved there by @nestjs/swagger. */
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
      throw new Error(`the rule ${name} of ${rule.propertyName} has no place in the OpenAPI document yet`);
  }
}

/** Patterns of JSON Schema are read as Unicode; one with other flags would mean something else there. */
function patternOf(pattern: unknown): string {
  if (!(pattern instanceof RegExp)) throw new Error(`${String(pattern)} is not a regular expression`);
  if (pattern.flags !== '' && pattern.flags !== 'u') throw new Error(`the flags of ${String(pattern)} cannot be documented`);
  return new RegExp(pattern.source, 'u').source;
}
