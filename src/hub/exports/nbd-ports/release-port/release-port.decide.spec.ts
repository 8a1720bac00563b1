import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { NbdPortEvent } from '../model/nbd-port.events.js';
import { evolveNbdPorts, initialNbdPortsState } from '../model/nbd-port.state.js';
import { decideReleasePort } from './release-port.decide.js';

const { given } = specificationOf({ initialState: initialNbdPortsState, evolve: evolveNbdPorts, decide: decideReleasePort });
const at = '2026-11-21T10:00:00.000Z';
const allocated: NbdPortEvent = { type: 'NbdPortsAllocated', data: { job_id: 'a', ports: [{ port: 100, export_name: 'x' }], allocated_at: at } };
const released: NbdPortEvent = { type: 'NbdPortReleased', data: { job_id: 'a', port: 100, released_at: at } };

describe('releasing a port', () => {
  it('releases it on behalf of the job that held it', () => {
    given(allocated).when({ port: 100, in_use: false, at }).then(released);
  });

  it('is refused when no job holds it', () => {
    given().when({ port: 100, in_use: false, at }).thenRefused('nbd_port_not_allocated');
    given(allocated, released).when({ port: 100, in_use: false, at }).thenRefused('nbd_port_not_allocated');
  });

  it('is refused while a live export listens on it', () => {
    given(allocated).when({ port: 100, in_use: true, at }).thenRefused('nbd_port_in_use');
  });
});
