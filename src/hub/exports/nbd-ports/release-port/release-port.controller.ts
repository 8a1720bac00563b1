import { Controller, Delete, Param, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { ReleasePort } from '../model/nbd-port.commands.js';
import { ReleasedPortDto } from './release-port.dto.js';
import { WholeNumberParam } from '../../../operations/http/whole-number-param.pipe.js';

@ApiTags('nbd')
@Controller('nbd/ports')
export class ReleasePortController {
  constructor(private readonly commands: CommandBus) {}

  @Delete(':port')
  @ApiOperation({ summary: 'Release one port' })
  @ApiParam({ name: 'port', type: 'integer', example: 10100 })
  @ApiOkResponse({ type: ReleasedPortDto })
  @ApiProblem(404, 'nbd_port_not_allocated')
  @ApiProblem(409, 'nbd_port_in_use')
  async release(
    @Param('port', WholeNumberParam) port: number,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<ReleasedPortDto> {
    const released = await this.commands.execute(new ReleasePort(port, context));
    answerPosition(response, released.position);
    return released;
  }
}
