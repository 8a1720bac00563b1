import { Controller, Get, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { ApiPage, type Page, readPage } from '../../../operations/http/cursor-page.js';
import { NodeResponse, toNodeResponse } from '../model/node.response.js';
import { ListNodesQuery } from './list-nodes.dto.js';

@ApiTags('nodes')
@Controller('nodes')
export class ListNodesController {
  constructor(private readonly dataSource: DataSource) {}

  @Get()
  @ApiOperation({ summary: 'List nodes and their reachability' })
  @ApiPage('nodes', NodeResponse, 'A page of nodes')
  list(@Query() query: ListNodesQuery): Promise<Page<'nodes', NodeResponse>> {
    return readPage(this.dataSource, query, {
      name: 'nodes',
      readModel: NodeReadModel,
      order: ['node_id'],
      direction: 'ASC',
      filters: { state: query.state },
      itemOf: toNodeResponse,
    });
  }
}
