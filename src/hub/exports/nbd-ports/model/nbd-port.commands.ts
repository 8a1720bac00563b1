import { Command } from '@nestjs/cqrs';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import type { PortAllocation } from './nbd-port.events.js';

/**
 * Allocates ports for a job, one per name, all or none; null stands for a port without an export name. For a name that already has a port, the job gets that
 * port. The answer is in the order of the names.
 * @throws DomainError `nbd_ports_exhausted` (unavailable), `nbd_ports_demand_too_large` (conflict), `nbd_port_count_invalid` or `nbd_export_names_not_unique`
 * (invalid)
 */
export class AllocatePorts extends Command<AllocatedPorts> {
  constructor(
    readonly jobId: string,
    readonly exportNames: readonly (string | null)[],
    readonly context: CommandContext,
  ) {
    super();
  }
}

export interface AllocatedPorts {
  readonly job_id: string;
  readonly ports: readonly PortAllocation[];
  /** Of the newest event of the port stream. */
  readonly position: string | null;
}

/**
 * Releases one port.
 * @throws DomainError `nbd_port_not_allocated` (not_found), `nbd_port_in_use` (conflict) while a live export listens on it
 */
export class ReleasePort extends Command<ReleasedPorts> {
  constructor(
    readonly port: number,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/**
 * Releases all ports of a job; a job without ports is no error.
 * With onlyIdle, refuses with DomainError `nbd_port_in_use` (conflict) while a live export listens on one of them; a caller that has stopped its exports does
 * not need it.
 */
export class ReleaseJobPorts extends Command<ReleasedPorts> {
  constructor(
    readonly jobId: string,
    readonly onlyIdle: boolean,
    readonly context: CommandContext,
  ) {
    super();
  }
}

export interface ReleasedPorts {
  readonly released: readonly number[];
  readonly position: string | null;
}

/** Waiting cannot satisfy a demand for more ports than the pool has. @throws DomainError `nbd_ports_demand_too_large` */
export function requirePoolFor(wanted: number, whose: string, pool: { readonly first: number; readonly count: number }): void {
  if (wanted <= pool.count) return;
  throw new DomainError(
    'conflict',
    'nbd_ports_demand_too_large',
    `${whose} needs ${wanted} NBD ports at once, but the pool ${pool.first}-${pool.first + pool.count - 1} has only ${pool.count}. Increase nbd_port_count, or request fewer ports.`,
    { wanted, pool: pool.count },
  );
}
