import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { NbdPortEvent } from '../model/nbd-port.events.js';
import { evolveNbdPorts, initialNbdPortsState } from '../model/nbd-port.state.js';
import { decideReleaseJob } from './release-job.decide.js';

const { given } = specificationOf({ initialState: initialNbdPortsState, evolve: evolveNbdPorts, decide: decideReleaseJob });
const at = '2026-11-21T10:00:00.000Z';
const allocated: NbdPortEvent = {
  type: 'NbdPortsAllocated',
  data: {
    job_id: 'a',
    ports: [
      { port: 100, export_name: 'x' },
      { port: 101, export_name: null },
    ],
    allocated_at: at,
  },
};
const released = (port: number): NbdPortEvent => ({ type: 'NbdPortReleased', data: { job_id: 'a', port, released_at: at } });

describe('releasing the ports of a job', () => {
  it('releases all it holds', () => {
    given(allocated).when({ job_id: 'a', in_use: [], at }).then(released(100), released(101));
    given(allocated, released(100)).when({ job_id: 'a', in_use: [], at }).then(released(101));
  });

  it('is harmless for a job that holds none', () => {
    given(allocated).when({ job_id: 'b', in_use: [], at }).then();
    given(allocated, released(100), released(101)).when({ job_id: 'a', in_use: [], at }).then();
  });

  it('is refused while a live export listens on one of them', () => {
    given(allocated)
      .when({ job_id: 'a', in_use: [101], at })
      .thenRefused('nbd_port_in_use');
  });
});
