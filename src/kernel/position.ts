/**
 * The position of an event among all events of the store. Opaque outside the adapters, except that positions of one store compare as strings (`<`, `===`) in
 * the order of the events.
 */
export type Position = string;

/** Format of a position of any store: 19 digits (PostgreSQL) or 38 (EventStoreDB). */
export const POSITION_PATTERN = '^[0-9]{19}([0-9]{19})?$';

/** Whether a text has the format of a position of any store. */
export function isPosition(text: string): boolean {
  return new RegExp(POSITION_PATTERN).test(text);
}

/** Whether two positions are of the same kind of store. Only such positions can be compared. */
export function areComparable(one: Position, other: Position): boolean {
  return one.length === other.length;
}

/** Whether something that stands at a position has passed another one. A position of another kind of store is never reached. */
export function hasReached(at: Position | null, position: Position): boolean {
  return at !== null && areComparable(at, position) && at >= position;
}
