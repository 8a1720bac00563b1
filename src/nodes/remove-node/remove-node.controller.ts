import { Controller, Delete, HttpCode, Param, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiNoContentResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../kernel/command-context.js';
import { Context } from '../../platform/http/command-context.interceptor.js';
import { answerPosition } from '../../platform/http/own-writes.interceptor.js';
import { ApiProblem } from '../../platform/http/problem-responses.decorator.js';
import { RemoveNode } from '../model/node.commands.js';

@ApiTags('nodes')
@Controller('nodes')
export class RemoveNodeController {
  constructor(private readonly commands: CommandBus) {}

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({ summary: 'Forget a node that has no VMs' })
  @ApiNoContentResponse({ description: 'Removed' })
  @ApiProblem(404, 'node_not_found')
  @ApiProblem(409, 'node_in_use')
  @ApiProblem(503, 'read_model_behind')
  async remove(@Param('id') id: string, @Context() context: CommandContext, @Res({ passthrough: true }) response: Response): Promise<void> {
    answerPosition(response, await this.commands.execute<RemoveNode, string | null>(new RemoveNode(id, context)));
  }
}
