import type { Decider } from '../../../../kernel/decider.js';
import type { NbdPortEvent } from './nbd-port.events.js';
import { evolveNbdPorts, initialNbdPortsState, type NbdPortsState } from './nbd-port.state.js';

/** Number of events after which the whole state is recorded: the stream grows with every backup as long as the hub exists. */
export const CARRY_OVER_AFTER = 500;

/** A decider of the port stream: the events of `decide`, followed by the whole state when that is due. */
export function portDecider<Command>(
  decide: (command: Command, state: NbdPortsState) => readonly NbdPortEvent[],
): Decider<NbdPortsState, Command, NbdPortEvent> {
  return {
    initialState: initialNbdPortsState,
    evolve: evolveNbdPorts,
    carriedOverBy: 'NbdPortsCarriedOver',
    decide(command, state) {
      const events = decide(command, state);
      if (events.length === 0 || state.eventsSince + events.length < CARRY_OVER_AFTER) return events;
      return [...events, carryOver(events.reduce(evolveNbdPorts, state))];
    },
  };
}

function carryOver({ held, released, occupied, refused }: NbdPortsState): NbdPortEvent {
  return {
    type: 'NbdPortsCarriedOver',
    data: {
      held: [...held].map(([port, holder]) => ({ port, ...holder })),
      released: [...released],
      occupied: [...occupied],
      refused: [...refused].map(([job_id, shortage]) => ({ job_id, ...shortage })),
    },
  };
}
