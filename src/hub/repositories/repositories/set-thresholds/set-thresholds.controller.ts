import { Body, Controller, HttpCode, Param, Put, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiNoContentResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { SetCapacityThresholds } from '../model/capacity.commands.js';
import { CapacityThresholdsDto } from './set-thresholds.dto.js';

@ApiTags('repositories')
@Controller('repositories')
export class SetThresholdsController {
  constructor(private readonly commands: CommandBus) {}

  @Put(':id/capacity/thresholds')
  @HttpCode(204)
  @ApiOperation({ summary: 'Set from when on a repository counts as nearly full', description: 'The defaults are 80 and 90 percent.' })
  @ApiParam({ name: 'id', example: '0199a3c0-2b40-7d10-b1de-64f0a52c9e02' })
  @ApiNoContentResponse({ description: 'Set' })
  @ApiProblem(400, 'validation_failed', 'capacity_thresholds_invalid')
  @ApiProblem(404, 'repository_not_found')
  @ApiProblem(503, 'read_model_behind')
  async set(
    @Param('id', UuidParam) id: string,
    @Body() { warning_percent, critical_percent }: CapacityThresholdsDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<void> {
    const { position } = await this.commands.execute(new SetCapacityThresholds(id, { warning_percent, critical_percent }, context));
    answerPosition(response, position);
  }
}
