import { getMetadataStorage, type ValidationArguments, type ValidatorConstraintInterface } from 'class-validator';
import { conversionOf } from './validation/conversion.js';
import { partOf } from './validation/member.decorators.js';

export type MessageClass<T extends object> = new () => T;

/** A message breaks a rule of its class, which means that the peer is faulty. The message of the error names the member and the rule, never a value. */
export class InvalidMessageError extends Error {
  override readonly name = 'InvalidMessageError';
  constructor(
    /** A path such as `disks.0.disk_key`; empty for the message itself. */
    readonly field: string,
    /** Stable, in snake_case. */
    readonly rule: string,
    message: string,
  ) {
    super(message);
  }
}

/**
 * Reads a message that the other side sent: checks the rules of its class, and returns its declared members as plain data. Members that the class does not
 * declare are left out, because the sender may be newer.
 *
 * Walks the rules that class-validator's decorators have recorded, because class-validator itself takes a quarter of a second for a list of 4,000 disks.
 * @throws InvalidMessageError for the first broken rule
 */
export function parseMessage<T extends object>(type: MessageClass<T>, json: unknown): T {
  return readPart(shapeOf(type), json, '') as T; // the shape has all members of the class
}

interface Rule {
  readonly name: string;
  readonly each: boolean;
  readonly check: ValidatorConstraintInterface;
  readonly message: string | ((args: ValidationArguments) => string) | undefined;
  readonly args: ValidationArguments;
}

interface Member {
  readonly name: string;
  readonly conditions: readonly ((object: object, value: unknown) => boolean)[];
  readonly rules: readonly Rule[];
  readonly part: Shape | null;
  readonly convert: ((value: unknown) => unknown) | null;
}

type Shape = readonly Member[];

const shapes = new Map<MessageClass<object>, Shape>();

function shapeOf(type: MessageClass<object>): Shape {
  const known = shapes.get(type);
  if (known !== undefined) return known;
  const storage = getMetadataStorage();
  const byMember = Map.groupBy(storage.getTargetValidationMetadatas(type, '', false, false), ({ propertyName }) => propertyName);
  if (byMember.size === 0) throw new Error(`${type.name} has no rules`);
  const shape = [...byMember].map(([name, metadatas]): Member => {
    const part = partOf(type, name);
    return {
      name,
      conditions: metadatas.flatMap((metadata) => (metadata.type === 'conditionalValidation' ? [metadata.constraints[0] as Member['conditions'][number]] : [])),
      rules: metadatas.flatMap((metadata) =>
        storage.getTargetValidatorConstraints(metadata.constraintCls).map((constraint) => ({
          name: constraint.name,
          each: metadata.each,
          check: constraint.instance,
          message: metadata.message, // class-validator leaves it undefined where none was given
          args: { value: undefined, constraints: metadata.constraints, targetName: type.name, object: {}, property: name },
        })),
      ),
      part: part === null ? null : shapeOf(part),
      convert: conversionOf(type, name),
    };
  });
  shapes.set(type, shape);
  return shape;
}

function readPart(shape: Shape, json: unknown, path: string): object {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new InvalidMessageError(path, 'is_object', `${path === '' ? 'the message' : path} must be an object`);
  }
  const given = json as Readonly<Record<string, unknown>>; // any other object has string keys
  const result: Record<string, unknown> = {};
  for (const member of shape) {
    const value = given[member.name];
    if (member.conditions.length === 0 || member.conditions.every((applies) => applies(given, value))) {
      for (const rule of member.rules) if (!holds(rule, value)) throw broken(rule, value, path);
    }
    if (value !== undefined) result[member.name] = readValue(member, value, path);
  }
  return result;
}

function readValue({ name, part, convert }: Member, value: unknown, path: string): unknown {
  if (value === null) return null;
  if (part === null) return convert === null ? value : convert(value);
  const where = pathOf(path, name);
  return Array.isArray(value) ? value.map((item, index) => readPart(part, item, `${where}.${index}`)) : readPart(part, value, where);
}

function holds({ each, check, args }: Rule, value: unknown): boolean {
  if (!each || !Array.isArray(value)) return check.validate(value, args) === true;
  for (const item of value) if (check.validate(item, args) !== true) return false;
  return true;
}

function broken({ name, check, message, args }: Rule, value: unknown, path: string): InvalidMessageError {
  const field = pathOf(path, args.property);
  if (value === undefined) return new InvalidMessageError(field, 'is_missing', `${field} is missing`);
  const text = typeof message === 'function' ? message(args) : (message ?? check.defaultMessage?.(args) ?? `${args.property} is invalid`);
  const constraints: readonly unknown[] = args.constraints;
  const named = text
    .replaceAll(/\$constraint(\d)/g, (_, number: string) => [constraints[Number(number) - 1]].flat().join(', '))
    .replaceAll('$property', args.property)
    .replace(args.property, field);
  return new InvalidMessageError(field, name.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase(), named);
}

function pathOf(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}
