import { DomainError } from '../../../../kernel/domain-error.js';
import { requirePoolFor } from '../model/nbd-port.commands.js';
import type { NbdPortEvent, PortAllocation } from '../model/nbd-port.events.js';
import { type NbdPortsState, portsOfJob } from '../model/nbd-port.state.js';

export interface PortPool {
  readonly first: number;
  readonly count: number;
}

export interface AllocatePortsData {
  readonly job_id: string;
  readonly export_names: readonly (string | null)[];
  readonly pool: PortPool;
  /** Ports found free, the most suitable first. */
  readonly found_free: readonly number[];
  /** Ports of the pool found in use by another program. */
  readonly found_occupied: readonly number[];
  /** ISO 8601, UTC. */
  readonly at: string;
}

/**
 * Ports of the pool that no job holds, the most suitable first. Ports never used come first, by number. Then come those free for the longest time, so that a
 * late client of an old export finds no server rather than another job's export. Ports found occupied come last; they may be free again.
 */
export function candidatePorts(state: NbdPortsState, pool: PortPool): readonly number[] {
  const inPool = (port: number): boolean => port >= pool.first && port < pool.first + pool.count;
  const released = new Set(state.released);
  const fresh = Array.from({ length: pool.count }, (_, index) => pool.first + index).filter((port) => !released.has(port));
  const unheld = [...fresh, ...state.released].filter((port) => inPool(port) && !state.held.has(port));
  return [...unheld.filter((port) => !state.occupied.has(port)), ...unheld.filter((port) => state.occupied.has(port))];
}

/** Names for which the job has no port yet; null names are only counted. */
export function missingNames(state: NbdPortsState, jobId: string, exportNames: readonly (string | null)[]): readonly (string | null)[] {
  const has = portsOfJob(state, jobId).map((allocation) => allocation.export_name);
  return exportNames.filter((name) => {
    const index = has.indexOf(name);
    if (index !== -1) has.splice(index, 1);
    return index === -1;
  });
}

/**
 * Allocates all ports a job requests, or none. A shortage is recorded once per job and per change of its numbers.
 * @throws DomainError `nbd_ports_demand_too_large`, `nbd_port_count_invalid`, `nbd_export_names_not_unique`
 */
export function decideAllocatePorts(command: AllocatePortsData, state: NbdPortsState): readonly NbdPortEvent[] {
  const { job_id, export_names, pool } = command;
  if (export_names.length === 0) throw new DomainError('invalid', 'nbd_port_count_invalid', 'A job needs at least one port; request 1 or more.', { wanted: 0 });
  const names = export_names.filter((name) => name !== null);
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated !== undefined) {
    throw new DomainError('invalid', 'nbd_export_names_not_unique', `Export name "${repeated}" is requested more than once; export names must be unique.`, {
      export_name: repeated,
    });
  }
  const missing = missingNames(state, job_id, export_names);
  const occupied: NbdPortEvent[] = command.found_occupied
    .filter((port) => !state.held.has(port) && !state.occupied.has(port))
    .map((port) => ({ type: 'NbdPortFoundOccupied', data: { port, found_at: command.at } }));
  if (missing.length === 0) return occupied;

  const inPool = (port: number): boolean => port >= pool.first && port < pool.first + pool.count;
  requirePoolFor(missing.length + portsOfJob(state, job_id).filter(({ port }) => inPool(port)).length, `Job ${job_id}`, pool);
  const free = command.found_free.filter((port) => inPool(port) && !state.held.has(port));
  const ports: PortAllocation[] = [];
  for (const [index, export_name] of missing.entries()) {
    const port = free[index];
    if (port === undefined) {
      const known = state.refused.get(job_id);
      if (known?.wanted === missing.length && known.free === free.length) return occupied;
      return [...occupied, { type: 'NbdPortsExhausted', data: { job_id, wanted: missing.length, free: free.length } }];
    }
    ports.push({ port, export_name });
  }
  return [...occupied, { type: 'NbdPortsAllocated', data: { job_id, ports, allocated_at: command.at } }];
}

/** The ports of a job, in the order of its names; null while any name lacks a port. */
export function allocationOf(state: NbdPortsState, jobId: string, exportNames: readonly (string | null)[]): readonly PortAllocation[] | null {
  const left = [...portsOfJob(state, jobId)];
  const found: PortAllocation[] = [];
  for (const name of exportNames) {
    const index = left.findIndex((allocation) => allocation.export_name === name);
    if (index === -1) return null;
    found.push(...left.splice(index, 1));
  }
  return found;
}
