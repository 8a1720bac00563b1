/**
 * Where an event stands among all events of the store. Opaque outside the adapters, but for this: positions of one store compare as
 * strings (`<`, `===`) in the order of the events.
 */
export type Position = string;

/** Whether a text has the form of a position. */
export function isPosition(text: string): boolean {
  return /^\d{19}$/.test(text);
}
