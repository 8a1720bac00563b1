import { DomainError } from '../../../../kernel/domain-error.js';
import type { NbdPortEvent } from '../model/nbd-port.events.js';
import { type NbdPortsState, portsOfJob } from '../model/nbd-port.state.js';

export interface ReleaseJobData {
  readonly job_id: string;
  /** Ports of the job that must not be released because a server listens on them. */
  readonly in_use: readonly number[];
  /** ISO 8601, UTC. */
  readonly at: string;
}

/** Releases all ports of the job or none. @throws DomainError `nbd_port_in_use` */
export function decideReleaseJob(command: ReleaseJobData, state: NbdPortsState): readonly NbdPortEvent[] {
  const ports = portsOfJob(state, command.job_id).map(({ port }) => port);
  const inUse = ports.filter((port) => command.in_use.includes(port));
  if (inUse.length > 0) {
    throw new DomainError('conflict', 'nbd_port_in_use', `Ports ${inUse.join(', ')} serve live exports of job ${command.job_id}. Cancel that job first.`, {
      ports: inUse,
      job_id: command.job_id,
    });
  }
  return ports.map((port) => ({ type: 'NbdPortReleased', data: { job_id: command.job_id, port, released_at: command.at } }));
}
