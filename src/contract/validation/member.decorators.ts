import 'reflect-metadata';
import { applyDecorators } from '@nestjs/common';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsDefined,
  IsInt,
  IsNotEmpty,
  IsNumber,
  IsObject,
  IsString,
  Matches,
  Max,
  MaxLength,
  Min,
  registerDecorator,
  ValidateNested,
} from 'class-validator';

type MessagePart = new () => object;

const PART = 'sendense:message-part';

/** A text that is not empty. */
export function Text(options: { readonly max?: number } = {}): PropertyDecorator {
  return applyDecorators(IsString(), IsNotEmpty(), ...(options.max === undefined ? [] : [MaxLength(options.max)]));
}

/** A text of a form; `message` says which, and begins with the name of the member. */
export function TextLike(pattern: RegExp, message: string): PropertyDecorator {
  return applyDecorators(IsString(), Matches(pattern, { message }));
}

export function Texts(options: { readonly max?: number } = {}): PropertyDecorator {
  return applyDecorators(IsArray(), ...(options.max === undefined ? [] : [ArrayMaxSize(options.max)]), IsString({ each: true }), IsNotEmpty({ each: true }));
}

/** A list of texts of a form. */
export function EachLike(pattern: RegExp, message: string, { max }: { readonly max: number }): PropertyDecorator {
  return applyDecorators(IsArray(), ArrayMaxSize(max), IsString({ each: true }), Matches(pattern, { each: true, message }));
}

/** A whole number that JSON carries without loss. */
export function WholeNumber(min = 0, max = Number.MAX_SAFE_INTEGER): PropertyDecorator {
  return applyDecorators(IsInt(), Min(min), Max(max));
}

/** A finite number from 0. */
export function Amount(): PropertyDecorator {
  return applyDecorators(IsNumber(), Min(0));
}

/** A member that is an object with members of its own. */
export function Part(type: () => MessagePart): PropertyDecorator {
  return applyDecorators(IsDefined(), IsObject(), ValidateNested(), Type(type), Reflect.metadata(PART, type));
}

/** A member that is a list of such objects. @param options uniqueBy: no two may have the same value of this member */
export function ListOf(type: () => MessagePart, options: { readonly min?: number; readonly max?: number; readonly uniqueBy?: string } = {}): PropertyDecorator {
  const { min, max, uniqueBy } = options;
  return applyDecorators(
    IsArray(),
    ...(min === undefined ? [] : [ArrayMinSize(min)]),
    ...(max === undefined ? [] : [ArrayMaxSize(max)]),
    IsObject({ each: true }),
    ...(uniqueBy === undefined ? [] : [UniqueBy(uniqueBy)]),
    ValidateNested({ each: true }),
    Type(type),
    Reflect.metadata(PART, type),
  );
}

/** The class of the objects in a member declared with `Part` or `ListOf`. */
export function partOf(message: MessagePart, member: string): MessagePart | null {
  const type = Reflect.getMetadata(PART, message.prototype as object, member) as (() => MessagePart) | undefined; // only the decorators above set it
  return type?.() ?? null;
}

/** class-validator's own rule compares each element with each, which a hostile list makes take minutes. */
function UniqueBy(name: string): PropertyDecorator {
  return listRule('arrayUnique', `must not contain the same ${name} twice`, (list) => new Set(list.map((item) => valueOf(item, name))).size === list.length);
}

/** Each object of the list has its place in it, from 0, as the value of this member. */
export function NumberedBy(name: string): PropertyDecorator {
  return listRule('numberedBy', `must have objects whose ${name} is their place in the list`, (list) =>
    list.every((item, index) => valueOf(item, name) === index),
  );
}

function listRule(name: string, rule: string, holds: (list: readonly unknown[]) => boolean): PropertyDecorator {
  return (target, property) => {
    registerDecorator({
      name,
      target: target.constructor,
      propertyName: String(property),
      validator: { validate: (value) => Array.isArray(value) && holds(value), defaultMessage: () => `${String(property)} ${rule}` },
    });
  };
}

function valueOf(item: unknown, name: string): unknown {
  return typeof item === 'object' && item !== null ? Reflect.get(item, name) : item;
}
