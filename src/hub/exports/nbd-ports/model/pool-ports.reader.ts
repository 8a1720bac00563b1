import type { DataSource } from 'typeorm';
import { NbdPortReadModel, type NbdPortState } from '../../../../../projections/nbd-ports/nbd-ports.read-model.js';

export interface PoolPort {
  readonly port: number;
  readonly state: NbdPortState;
  readonly job_id: string | null;
  readonly export_name: string | null;
  /** When the port entered this state; null for a port never used. */
  readonly since: Date | null;
}

/** The configured pool ordered by port, plus ports outside it that are still allocated from an earlier configuration. */
export async function poolPorts(dataSource: DataSource, pool: { readonly first: number; readonly count: number }): Promise<readonly PoolPort[]> {
  const ports = new Map<number, PoolPort>();
  for (let port = pool.first; port < pool.first + pool.count; port += 1) ports.set(port, { port, state: 'free', job_id: null, export_name: null, since: null });
  for (const row of await dataSource.getRepository(NbdPortReadModel).find()) {
    if (ports.has(row.port) || row.state === 'allocated') ports.set(row.port, row);
  }
  return [...ports.values()].sort((a, b) => a.port - b.port);
}
