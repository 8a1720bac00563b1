import { Controller, Delete, Param, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { ReleaseJobPorts } from '../model/nbd-port.commands.js';
import { ReleasedJobPortsDto } from './release-job.dto.js';

@ApiTags('nbd')
@Controller('nbd/ports/job')
export class ReleaseJobController {
  constructor(private readonly commands: CommandBus) {}

  @Delete(':jobId')
  @ApiOperation({ summary: 'Release all ports of a job' })
  @ApiParam({ name: 'jobId', example: '0193a5c2-7d1e-7000-8000-000000000004' })
  @ApiOkResponse({ type: ReleasedJobPortsDto })
  @ApiProblem(409, 'nbd_port_in_use')
  async release(
    @Param('jobId') jobId: string,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<ReleasedJobPortsDto> {
    const released = await this.commands.execute(new ReleaseJobPorts(jobId, true, context));
    answerPosition(response, released.position);
    return released;
  }
}
