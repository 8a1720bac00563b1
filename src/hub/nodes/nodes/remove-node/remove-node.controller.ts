import { Controller, Delete, HttpCode, Param, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiNoContentResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { RemoveNode } from '../model/node.commands.js';

@ApiTags('nodes')
@Controller('nodes')
export class RemoveNodeController {
  constructor(private readonly commands: CommandBus) {}

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({
    summary: 'Remove or revoke a node',
    description:
      'A node that was registered by its address is removed, unless VMs refer to it. An enrolled node is revoked at once: its tunnel is cut, and its token and pairing code are refused. While VMs refer to it, it stays as `revoked` and may be enrolled again under its name.',
  })
  @ApiNoContentResponse({ description: 'Removed or revoked' })
  @ApiProblem(404, 'node_not_found')
  @ApiProblem(409, 'node_in_use')
  @ApiProblem(503, 'read_model_behind', 'node_access_not_published')
  async remove(@Param('id') id: string, @Context() context: CommandContext, @Res({ passthrough: true }) response: Response): Promise<void> {
    answerPosition(response, await this.commands.execute(new RemoveNode(id, context)));
  }
}
