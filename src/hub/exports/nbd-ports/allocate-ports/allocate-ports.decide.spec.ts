import { describe, expect, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { NbdPortEvent } from '../model/nbd-port.events.js';
import { evolveNbdPorts, initialNbdPortsState } from '../model/nbd-port.state.js';
import { allocationOf, type AllocatePortsData, candidatePorts, decideAllocatePorts, missingNames } from './allocate-ports.decide.js';

const { given } = specificationOf({ initialState: initialNbdPortsState, evolve: evolveNbdPorts, decide: decideAllocatePorts });
const at = '2026-11-21T10:00:00.000Z';
const pool = { first: 100, count: 4 };
const stateOf = (...events: readonly NbdPortEvent[]) => events.reduce(evolveNbdPorts, initialNbdPortsState);

function ask(job_id: string, export_names: readonly (string | null)[], found: Partial<AllocatePortsData> = {}): AllocatePortsData {
  return { job_id, export_names, pool, found_free: [100, 101, 102, 103], found_occupied: [], at, ...found };
}
function allocated(job_id: string, ports: Readonly<Record<number, string | null>>): NbdPortEvent {
  const list = Object.entries(ports).map(([port, export_name]) => ({ port: Number(port), export_name }));
  return { type: 'NbdPortsAllocated', data: { job_id, ports: list, allocated_at: at } };
}
function released(job_id: string, port: number): NbdPortEvent {
  return { type: 'NbdPortReleased', data: { job_id, port, released_at: at } };
}
function occupied(port: number): NbdPortEvent {
  return { type: 'NbdPortFoundOccupied', data: { port, found_at: at } };
}
function exhausted(job_id: string, wanted: number, free: number): NbdPortEvent {
  return { type: 'NbdPortsExhausted', data: { job_id, wanted, free } };
}

describe('allocating ports', () => {
  it('allocates a port for each name in one event', () => {
    given()
      .when(ask('a', ['x', 'y']))
      .then(allocated('a', { 100: 'x', 101: 'y' }));
  });

  it('allocates all or none', () => {
    given(allocated('a', { 100: 'x', 101: 'y' }))
      .when(ask('b', ['p', 'q', 'r'], { found_free: [102, 103] }))
      .then(exhausted('b', 3, 2));
  });

  it('refuses at once more ports than the pool has, including those the job already holds, because waiting cannot help', () => {
    given()
      .when(ask('a', ['v', 'w', 'x', 'y', 'z']))
      .thenRefused('nbd_ports_demand_too_large');
    given(allocated('a', { 100: 'v' }))
      .when(ask('a', ['w', 'x', 'y', 'z'], { found_free: [101, 102, 103] }))
      .thenRefused('nbd_ports_demand_too_large');
    // Ports outside a reconfigured pool no longer count.
    given(allocated('a', { 90: 'v' }))
      .when(ask('a', ['v', 'w', 'x', 'y', 'z']))
      .then(allocated('a', { 100: 'w', 101: 'x', 102: 'y', 103: 'z' }));
  });

  it('records a shortage once per job, and again when it changes', () => {
    const history = [allocated('a', { 100: 'x', 101: 'y' }), exhausted('b', 3, 2)];
    given(...history)
      .when(ask('b', ['p', 'q', 'r'], { found_free: [102, 103] }))
      .then();
    given(...history)
      .when(ask('b', ['p', 'q', 'r'], { found_free: [103] }))
      .then(exhausted('b', 3, 1));
  });

  it('changes nothing when the job already has these ports, even after other jobs came and went', () => {
    given(allocated('a', { 100: 'x', 101: 'y' }), allocated('b', { 102: null }), released('b', 102))
      .when(ask('a', ['y', 'x']))
      .then();
    given(allocated('a', { 100: null, 101: null }))
      .when(ask('a', [null, null]))
      .then();
  });

  it('allocates only the ports the job lacks', () => {
    given(allocated('a', { 100: 'x' }))
      .when(ask('a', ['x', 'y'], { found_free: [101] }))
      .then(allocated('a', { 101: 'y' }));
  });

  it('never allocates a port that another job took in the meantime, whatever the probe found', () => {
    given(allocated('a', { 100: 'x' }))
      .when(ask('b', ['p'], { found_free: [100, 101] }))
      .then(allocated('b', { 101: 'p' }));
  });

  it('skips a port in use by another program and reports it once', () => {
    const found = { found_free: [101], found_occupied: [100] };
    given()
      .when(ask('a', ['x'], found))
      .then(occupied(100), allocated('a', { 101: 'x' }));
    given(occupied(100))
      .when(ask('a', ['x'], found))
      .then(allocated('a', { 101: 'x' }));
  });

  it('reports the occupied ports that exhaust the pool', () => {
    given()
      .when(ask('a', ['x'], { found_free: [], found_occupied: [100, 101] }))
      .then(occupied(100), occupied(101), exhausted('a', 1, 0));
  });

  it('uses an occupied port again once it is found free', () => {
    given(occupied(100))
      .when(ask('a', ['x'], { found_free: [100] }))
      .then(allocated('a', { 100: 'x' }));
    expect(stateOf(occupied(100), allocated('a', { 100: 'x' })).occupied.size).toBe(0);
  });

  it('refuses a request for no port or for the same name twice', () => {
    given().when(ask('a', [])).thenRefused('nbd_port_count_invalid');
    given()
      .when(ask('a', ['x', 'x']))
      .thenRefused('nbd_export_names_not_unique');
  });
});

describe('candidates for an allocation', () => {
  it('are ports never used, then those free for the longest time, then occupied ones', () => {
    const state = stateOf(allocated('a', { 100: 'x', 101: 'y' }), released('a', 101), released('a', 100), occupied(102));
    expect(candidatePorts(state, pool)).toEqual([103, 101, 100, 102]);
  });

  it('are in the currently configured pool', () => {
    const state = stateOf(allocated('a', { 100: 'x', 101: 'y' }), released('a', 101), released('a', 100));
    expect(candidatePorts(state, { first: 101, count: 2 })).toEqual([102, 101]);
  });
});

describe('the allocation of a job', () => {
  const state = stateOf(allocated('a', { 100: 'x', 101: null }), allocated('b', { 102: 'y' }));

  it('is in the order of its names', () => {
    expect(allocationOf(state, 'a', [null, 'x'])).toEqual([
      { port: 101, export_name: null },
      { port: 100, export_name: 'x' },
    ]);
  });

  it('is null while any name lacks a port', () => {
    expect(allocationOf(state, 'a', ['x', 'y'])).toBeNull();
    expect(missingNames(state, 'a', ['x', 'y', null, null])).toEqual(['y', null]);
  });
});
