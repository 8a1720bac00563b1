import { type IQueryHandler, Query, QueryHandler } from '@nestjs/cqrs';
import { DataSource, In } from 'typeorm';
import { NbdExportReadModel } from '../../../../../projections/nbd-exports/nbd-exports.read-model.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { exportSocket, preparedTransport } from '../../nbd-servers/export-access.js';
import { TcpConnections } from '../../nbd-servers/tcp-connections.js';
import { isAlive } from '../../../../lib/process/process-identity.js';
import type { NbdProcessDto, NbdProcessListDto, NbdProcessState } from './list-processes.dto.js';

export class ListNbdProcesses extends Query<NbdProcessListDto> {}

@QueryHandler(ListNbdProcesses)
export class ListProcessesHandler implements IQueryHandler<ListNbdProcesses> {
  constructor(
    private readonly dataSource: DataSource,
    private readonly connections: TcpConnections,
    private readonly clock: Clock,
    private readonly config: HubConfig,
  ) {}

  async execute(): Promise<NbdProcessListDto> {
    const { runDirectory, nbdListenHost: host } = this.config;
    const [rows, connections, bySocket] = await Promise.all([
      this.dataSource.getRepository(NbdExportReadModel).find({ where: { state: In(['starting', 'running']) }, order: { port: 'ASC' } }),
      this.connections.establishedByLocalPort(),
      this.connections.establishedBySocket(),
    ]);
    const now = this.clock.now().getTime();
    const transports = await Promise.all(rows.map(({ export_id }) => preparedTransport(runDirectory, export_id)));
    const processes = rows.map((row, index): NbdProcessDto => ({
      export_id: row.export_id,
      job_id: row.job_id,
      pid: row.pid,
      port: row.port,
      transport: transports[index] ?? null,
      listens_on: transports[index] === 'unix' ? exportSocket(runDirectory, row.export_id) : hostAndPort(host, row.port),
      export_name: row.export_name,
      file: row.file,
      read_only: row.read_only,
      uptime_seconds: row.started_at === null ? 0 : Math.max(0, Math.round((now - row.started_at.getTime()) / 100) / 10),
      connections: (transports[index] === 'unix' ? bySocket.get(exportSocket(runDirectory, row.export_id)) : connections.get(row.port)) ?? 0,
      shared_limit: row.shared_limit,
      state: stateOf(row),
      started_at: row.started_at?.toISOString() ?? null,
    }));
    return { processes, total_count: processes.length };
  }
}

function hostAndPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function stateOf(row: NbdExportReadModel): NbdProcessState {
  if (row.pid === null || row.process_start_ticks === null || row.boot_id === null) return 'starting';
  return isAlive({ pid: row.pid, start_ticks: row.process_start_ticks, boot_id: row.boot_id }) ? 'running' : 'ended';
}
