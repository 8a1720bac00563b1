import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn } from 'class-validator';
import { PageQuery } from '../../../operations/http/cursor-page.js';
import { NODE_STATES } from '../model/node.response.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

export class ListNodesQuery extends PageQuery {
  @ApiPropertyOptional({ enum: NODE_STATES, description: 'Only nodes in this state', example: 'reachable' })
  @Optional()
  @IsIn(NODE_STATES)
  state?: string;
}
