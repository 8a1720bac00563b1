import { normalisedInstant } from '../../kernel/instant.js';

/** A stored document has the wrong shape; the message names the member. */
export class WrongShapeError extends Error {
  override readonly name = 'WrongShapeError';
}

export type Members = Readonly<Record<string, unknown>>;

/** Returns one member's value, or throws a WrongShapeError that names `where`. */
type Reader<T> = (value: unknown, where: string) => T;

export const object: Reader<Members> = (value, where) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(where, 'an object', value);
  return value as Members; // any other object has string keys
};

export const text: Reader<string> = (value, where) => {
  if (typeof value !== 'string' || value === '') throw wrong(where, 'a non-empty string', value);
  return value;
};

export const wholeNumber: Reader<number> = (value, where) => {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw wrong(where, 'a whole number from 0', value);
  return value;
};

export const time: Reader<string> = (value, where) => {
  if (typeof value !== 'string' || normalisedInstant(value) === null) throw wrong(where, 'a date and time of RFC 3339', value);
  return value;
};

export const flag: Reader<boolean> = (value, where) => {
  if (typeof value !== 'boolean') throw wrong(where, 'true or false', value);
  return value;
};

export function matching(pattern: RegExp, what: string): Reader<string> {
  return (value, where) => {
    if (typeof value !== 'string' || !pattern.test(value)) throw wrong(where, what, value);
    return value;
  };
}

export function oneOf<const Word extends string>(...words: readonly Word[]): Reader<Word> {
  return (value, where) => {
    const found = words.find((word) => word === value);
    if (found === undefined) throw wrong(where, `one of ${words.join(', ')}`, value);
    return found;
  };
}

export function orNull<T>(reader: Reader<T>): Reader<T | null> {
  return (value, where) => (value === null ? null : reader(value, where));
}

export function listOf<T>(reader: Reader<T>): Reader<readonly T[]> {
  return (value, where) => {
    if (!Array.isArray(value)) throw wrong(where, 'a list', value);
    return value.map((item: unknown, index) => reader(item, `${where}[${index}]`));
  };
}

export function wrong(where: string, expected: string, found: unknown): WrongShapeError {
  const shown = found === undefined ? 'nothing' : JSON.stringify(found);
  return new WrongShapeError(`${where} must be ${expected}, but is ${shown.length > 80 ? `${shown.slice(0, 80)}...` : shown}`);
}
