import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsOptional } from 'class-validator';
import { PageQuery } from '../../platform/http/cursor-page.js';
import { NODE_STATES } from '../model/node.response.js';

export class ListNodesQuery extends PageQuery {
  @ApiPropertyOptional({ enum: NODE_STATES, description: 'Only nodes in this state', example: 'reachable' })
  @IsOptional()
  @IsIn(NODE_STATES)
  state?: string;
}
