import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { type PoolPort, poolPorts } from '../model/pool-ports.reader.js';
import type { JsonObject } from '../../../../kernel/json.js';
import { HubConfig } from '../../../hub.config.js';
import { ApiPage, decodeCursor, type Page, pageOf } from '../../../operations/http/cursor-page.js';
import { ListPortsQuery, NbdPortMetricsResponse, NbdPortResponse } from './list-ports.dto.js';

type PortsKey = { readonly port: number };

@ApiTags('nbd')
@Controller('nbd/ports')
export class ListPortsController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly config: HubConfig,
  ) {}

  @Get()
  @ApiOperation({ summary: 'List the ports of the pool and the jobs that hold them' })
  @ApiPage('ports', NbdPortResponse, 'A page of ports')
  async list(@Query() query: ListPortsQuery): Promise<Page<'ports', NbdPortResponse>> {
    const after = decodeCursor(query.cursor, isPortsKey);
    const ports = (await this.pool()).filter(({ port, state }) => port > (after?.port ?? 0) && (query.state === undefined || state === query.state));
    return pageOf('ports', ports, query.limit, ({ port }) => ({ port }), toPortResponse);
  }

  @Get('metrics')
  @ApiOperation({ summary: 'Show the utilization of the pool' })
  @ApiOkResponse({ type: NbdPortMetricsResponse })
  async metrics(): Promise<NbdPortMetricsResponse> {
    const ports = await this.pool();
    const count = (state: string): number => ports.filter((port) => port.state === state).length;
    const free = count('free');
    return {
      total: ports.length,
      free,
      allocated: count('allocated'),
      occupied: count('occupied'),
      jobs: new Set(ports.flatMap(({ job_id }) => job_id ?? [])).size,
      utilization_percent: Math.round(((ports.length - free) / Math.max(1, ports.length)) * 1000) / 10,
      first_port: this.config.nbdPortFirst,
      last_port: this.config.nbdPortFirst + this.config.nbdPortCount - 1,
    };
  }

  private pool(): Promise<readonly PoolPort[]> {
    return poolPorts(this.dataSource, { first: this.config.nbdPortFirst, count: this.config.nbdPortCount });
  }
}

function toPortResponse({ port, state, job_id, export_name, since }: PoolPort): NbdPortResponse {
  return { port, state, job_id, export_name, since: since?.toISOString() ?? null };
}

function isPortsKey(key: JsonObject): key is PortsKey {
  return typeof key['port'] === 'number';
}
