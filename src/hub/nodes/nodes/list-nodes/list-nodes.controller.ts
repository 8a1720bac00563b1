import { Controller, Get, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import type { JsonObject } from '../../../../kernel/json.js';
import { ApiPage, decodeCursor, type Page, pageOf } from '../../../operations/http/cursor-page.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { NodeResponse, toNodeResponse } from '../model/node.response.js';
import { ListNodesQuery } from './list-nodes.dto.js';

type NodesKey = { readonly node_id: string };

@ApiTags('nodes')
@Controller('nodes')
export class ListNodesController {
  constructor(private readonly dataSource: DataSource) {}

  @Get()
  @ApiOperation({ summary: 'List nodes and their reachability' })
  @ApiPage('nodes', NodeResponse, 'A page of nodes')
  @ApiProblem(400, 'validation_failed', 'cursor_invalid')
  async list(@Query() query: ListNodesQuery): Promise<Page<'nodes', NodeResponse>> {
    const after = decodeCursor(query.cursor, isNodesKey);
    const select = this.dataSource
      .getRepository(NodeReadModel)
      .createQueryBuilder('n')
      .orderBy('n.node_id')
      .take(query.limit + 1);
    if (query.state !== undefined) select.andWhere('n.state = :state', { state: query.state });
    if (after !== null) select.andWhere('n.node_id > :after', { after: after.node_id });
    return pageOf('nodes', await select.getMany(), query.limit, ({ node_id }) => ({ node_id }), toNodeResponse);
  }
}

function isNodesKey(key: JsonObject): key is NodesKey {
  return typeof key['node_id'] === 'string';
}
