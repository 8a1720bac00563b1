import { describe, expect, it } from '@jest/globals';
import { CARRY_OVER_AFTER, portDecider } from './carry-over.decide.js';
import type { NbdPortEvent } from './nbd-port.events.js';
import { evolveNbdPorts, initialNbdPortsState } from './nbd-port.state.js';

const at = '2026-11-21T10:00:00.000Z';
const decider = portDecider((events: readonly NbdPortEvent[]) => events);

function useOf(job_id: string, port: number): readonly NbdPortEvent[] {
  return [
    { type: 'NbdPortsAllocated', data: { job_id, ports: [{ port, export_name: `disk-of-${job_id}` }], allocated_at: at } },
    { type: 'NbdPortReleased', data: { job_id, port, released_at: at } },
  ];
}

/** Every kind of event, often enough that the state is carried over several times. */
function history(commands: number): readonly NbdPortEvent[] {
  const events: NbdPortEvent[] = [];
  let state = initialNbdPortsState;
  for (let index = 0; index < commands; index++) {
    const asked: readonly NbdPortEvent[] = [
      ...useOf(`job-${index}`, 100 + (index % 40)),
      ...(index % 10 === 0 ? ([{ type: 'NbdPortsExhausted', data: { job_id: `late-${index}`, wanted: 3, free: index % 3 } }] as const) : []),
      ...(index % 50 === 0 ? ([{ type: 'NbdPortFoundOccupied', data: { port: 200 + index, found_at: at } }] as const) : []),
      ...(index % 70 === 0 ? useOf(`held-${index}`, 1000 + index).slice(0, 1) : []),
    ];
    const decided = decider.decide(asked, state);
    events.push(...decided);
    state = decided.reduce(evolveNbdPorts, state);
  }
  return events;
}

describe('the carried-over state of the ports', () => {
  it('is in the stream at regular intervals', () => {
    const events = history(2_000);
    const places = events.flatMap(({ type }, index) => (type === 'NbdPortsCarriedOver' ? [index] : []));
    expect(places.length).toBeGreaterThan(5);
    const gaps = places.map((place, index) => place - (places[index - 1] ?? -1));
    for (const gap of gaps) expect(gap).toBeLessThan(CARRY_OVER_AFTER + 10);
  });

  it('equals the state folded from all events before it', () => {
    const events = history(2_000);
    const last = events.findLastIndex(({ type }) => type === 'NbdPortsCarriedOver');
    const before = events.slice(0, last).reduce(evolveNbdPorts, initialNbdPortsState);
    const from = events.slice(last, last + 1).reduce(evolveNbdPorts, initialNbdPortsState);
    expect({ ...from, eventsSince: 0 }).toEqual({ ...before, eventsSince: 0 });
    expect([...from.held.keys()]).toEqual([...before.held.keys()]);
    expect(from.eventsSince).toBe(0);
  });

  it('is not written when nothing was decided', () => {
    const due = Array.from({ length: CARRY_OVER_AFTER / 2 }, (_, index) => useOf(`job-${index}`, 100)).flat();
    const state = due.reduce(evolveNbdPorts, initialNbdPortsState);
    expect(decider.decide([], state)).toEqual([]);
    expect(decider.decide(useOf('one-more', 100), state).map(({ type }) => type)).toEqual(['NbdPortsAllocated', 'NbdPortReleased', 'NbdPortsCarriedOver']);
  });

  it('does not grow with refused jobs that never came back', () => {
    const refusals = Array.from({ length: 5_000 }, (_, index): NbdPortEvent => ({
      type: 'NbdPortsExhausted',
      data: { job_id: `job-${index}`, wanted: 2, free: 1 },
    }));
    const { refused } = refusals.reduce(evolveNbdPorts, initialNbdPortsState);
    expect(refused.size).toBeLessThanOrEqual(100);
    expect([...refused.keys()].at(-1)).toBe('job-4999');
  });
});
