import { expect } from '@jest/globals';
import { DomainError } from '../../src/kernel/domain-error.js';
import type { DomainEvent } from '../../src/kernel/event.js';
import type { JsonObject } from '../../src/kernel/json.js';

interface Rules<State, Command, Event extends DomainEvent> {
  readonly initialState: State;
  evolve(state: State, event: Event): State;
  decide(command: Command, state: State): readonly Event[];
}

/** `given(events).when(command).then(events)` or `.thenRefused(code)` for one decider. */
export function specificationOf<State, Command, Event extends DomainEvent>(rules: Rules<State, Command, Event>) {
  return {
    given: (...history: readonly Event[]) => ({
      when: (command: Command) => {
        const decide = (): readonly Event[] =>
          rules.decide(
            command,
            history.reduce((state, event) => rules.evolve(state, event), rules.initialState),
          );
        return {
          then: (...expected: readonly Event[]): void => expect(decide()).toEqual(expected),
          /** Only the types, where the data are not what the rule is about. */
          thenTypes: (...expected: readonly Event['type'][]): void => expect(decide().map((event) => event.type)).toEqual(expected),
          /** @param facts all of them, where the rule is about those too */
          thenRefused: (code: string, facts?: JsonObject): void => {
            try {
              decide();
            } catch (error) {
              expect(error).toBeInstanceOf(DomainError);
              expect(error).toMatchObject({ code });
              if (facts !== undefined) expect(error).toHaveProperty('facts', facts);
              return;
            }
            throw new Error(`expected a refusal with ${code}, but it was accepted`);
          },
        };
      },
    }),
  };
}
