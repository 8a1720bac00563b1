import type { DomainEvent } from './event.js';

/**
 * The pure core of one kind of stream. `decide` receives everything it needs in the command (time, ids, gathered facts) and throws a DomainError to refuse;
 * `evolve` is exhaustive and throws on an unknown event type.
 */
export interface Decider<State, Command, Event extends DomainEvent> {
  readonly initialState: State;
  decide(command: Command, state: State): readonly Event[];
  evolve(state: State, event: Event): State;
  /**
   * For streams that never end: the type of the events that carry the whole state. `evolve` rebuilds the state from such an event alone, so earlier events are
   * not needed. `decide` adds one from time to time.
   */
  readonly carriedOverBy?: Event['type'];
}

/** Makes the deciders of one kind of stream, which share its state. */
export function decidersOf<State, Event extends DomainEvent>(
  initialState: State,
  evolve: (state: State, event: Event) => State,
): <Command>(decide: (command: Command, state: State) => readonly Event[]) => Decider<State, Command, Event> {
  return (decide) => ({ initialState, evolve, decide });
}

/** Makes a forgotten case a compile error, and an unknown stored type a loud failure instead of a silent skip. */
export function unknownVariant(where: string, variant: never): never {
  throw new Error(`${where}: unknown variant ${JSON.stringify(variant)}`);
}
