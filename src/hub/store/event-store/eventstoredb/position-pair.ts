import type { Position } from '../../../../kernel/position.js';

/** EventStoreDB's position: where the event was committed, and where it was prepared. */
export interface PositionPair {
  readonly commit: bigint;
  readonly prepare: bigint;
}

/** Digits of the largest position, a signed 64 bit integer. */
const WIDTH = 19;

/** 38 digits, so that positions compare as strings, and differ from those of PostgreSQL. */
export function encodePair({ commit, prepare }: PositionPair): Position {
  return `${digits(commit)}${digits(prepare)}`;
}

/** @throws RangeError if it is not a position of this store */
export function decodePair(position: Position): PositionPair {
  if (!/^\d{38}$/.test(position)) {
    throw new RangeError(`${JSON.stringify(position)} is not a position of this event store, which is EventStoreDB`);
  }
  return { commit: BigInt(position.slice(0, WIDTH)), prepare: BigInt(position.slice(WIDTH)) };
}

function digits(value: bigint): string {
  return value.toString().padStart(WIDTH, '0');
}
