import type { DomainEvent } from './event.js';

/**
 * The pure core of one kind of stream. `decide` gets everything it needs in the command (time, ids, gathered facts)
 * and throws a DomainError to refuse; `evolve` is exhaustive and throws on an event type it does not know.
 */
export interface Decider<State, Command, Event extends DomainEvent> {
  readonly initialState: State;
  decide(command: Command, state: State): readonly Event[];
  evolve(state: State, event: Event): State;
  /**
   * For streams that never end: the type of the events that hold the whole state at their place. Nothing before such an event is needed to know
   * the state, and `evolve` makes the state from it alone. `decide` adds one from time to time.
   */
  readonly carriedOverBy?: Event['type'];
}

/** Makes a forgotten case a compile error, and a stored type nobody knows a loud failure instead of a silent skip. */
export function unknownVariant(where: string, variant: never): never {
  throw new Error(`${where}: unknown variant ${JSON.stringify(variant)}`);
}
