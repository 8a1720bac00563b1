import { Body, Controller, HttpCode, Param, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { ApproveNode } from '../model/node.commands.js';
import { ApprovedNodeDto, ApproveNodeDto } from './approve-node.dto.js';

@ApiTags('nodes')
@Controller('nodes')
export class ApproveNodeController {
  constructor(private readonly commands: CommandBus) {}

  @Post(':id/approve')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Approve a paired node',
    description:
      'Use the fingerprint that `sendense node enrol` shows on the node itself. After approval the tunnel of the node may connect and its token is valid.',
  })
  @ApiParam({ name: 'id', example: '0199a3c0-0001-7000-8000-00000000000a' })
  @ApiOkResponse({ type: ApprovedNodeDto })
  @ApiProblem(404, 'node_not_found')
  @ApiProblem(409, 'node_not_paired', 'fingerprint_mismatch')
  @ApiProblem(503, 'node_access_not_published')
  async approve(
    @Param('id', UuidParam) id: string,
    @Body() body: ApproveNodeDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<ApprovedNodeDto> {
    const position = await this.commands.execute(new ApproveNode(id, body.public_key_fingerprint, context));
    answerPosition(response, position);
    return { node_id: id, public_key_fingerprint: body.public_key_fingerprint, position };
  }
}
