import { Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { NodeResponse, toNodeResponse } from '../model/node.response.js';

@ApiTags('nodes')
@Controller('nodes')
export class GetNodeController {
  constructor(private readonly dataSource: DataSource) {}

  @Get(':id')
  @ApiOperation({ summary: 'Get a node and its reachability' })
  @ApiParam({ name: 'id', example: '0199a3c0-0001-7000-8000-00000000000a' })
  @ApiOkResponse({ type: NodeResponse })
  @ApiProblem(404, 'node_not_found')
  async get(@Param('id', UuidParam) id: string): Promise<NodeResponse> {
    const node = await this.dataSource.getRepository(NodeReadModel).findOneBy({ node_id: id });
    if (node === null) throw new DomainError('not_found', 'node_not_found', `There is no node ${id}.`, { node_id: id });
    return toNodeResponse(node);
  }
}
