import type { Position } from '../../../kernel/position.js';

/** Digits of the largest bigint. With leading zeros, positions sort correctly as strings. */
const WIDTH = 19;

/** @param bigint a PostgreSQL bigint as text */
export function encodePosition(bigint: string): Position {
  return bigint.padStart(WIDTH, '0');
}

/** Whether a position is that of a row in PostgreSQL, rather than of an event in another store. */
export function isRowPosition(position: Position | null): boolean {
  return position !== null && /^\d{19}$/.test(position);
}

/** @returns a PostgreSQL bigint as text; positions start at 1, so '0' is before every event @throws RangeError if it is not a position of this store */
export function decodePosition(position: Position | null): string {
  if (position === null) return '0';
  if (!isRowPosition(position)) throw new RangeError(`${JSON.stringify(position)} is not a position of this event store, which is PostgreSQL`);
  return BigInt(position).toString();
}
