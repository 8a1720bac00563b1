import { DomainError } from '../../../../kernel/domain-error.js';
import type { NbdPortEvent } from '../model/nbd-port.events.js';
import type { NbdPortsState } from '../model/nbd-port.state.js';

export interface ReleasePortData {
  readonly port: number;
  /** Whether a server was found listening on it. */
  readonly in_use: boolean;
  /** ISO 8601, UTC. */
  readonly at: string;
}

/** @throws DomainError `nbd_port_not_allocated`, `nbd_port_in_use` */
export function decideReleasePort(command: ReleasePortData, state: NbdPortsState): readonly NbdPortEvent[] {
  const { port, at } = command;
  const held = state.held.get(port);
  if (held === undefined) throw new DomainError('not_found', 'nbd_port_not_allocated', `Port ${port} is not allocated to any job.`, { port });
  if (command.in_use) {
    throw new DomainError('conflict', 'nbd_port_in_use', `Port ${port} serves a live export of job ${held.job_id}. Cancel that job first.`, {
      port,
      job_id: held.job_id,
      export_name: held.export_name,
    });
  }
  return [{ type: 'NbdPortReleased', data: { job_id: held.job_id, port, released_at: at } }];
}
