/**
 * The position of an event among all events of the store. Opaque outside the adapters, except that positions of one store compare as strings (`<`, `===`) in
 * the order of the events.
 */
export type Position = string;

/** Whether a text has the format of a position of any store: 19 digits (PostgreSQL) or 38 (EventStoreDB). */
export function isPosition(text: string): boolean {
  return /^(\d{19}){1,2}$/.test(text);
}
