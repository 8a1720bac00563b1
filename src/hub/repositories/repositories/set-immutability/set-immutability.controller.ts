import { Body, Controller, HttpCode, Param, Put, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiNoContentResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { SetImmutability } from '../model/repository.commands.js';
import { ImmutabilityDto } from './set-immutability.dto.js';

@ApiTags('repositories')
@Controller('repositories')
export class SetImmutabilityController {
  constructor(private readonly commands: CommandBus) {}

  @Put(':id/immutability')
  @HttpCode(204)
  @ApiOperation({
    summary: 'Set how long restore points are locked',
    description: 'Applies to restore points that are sealed from then on. What is `enforced` can only be made longer.',
  })
  @ApiParam({ name: 'id', example: '0199a3c0-2b40-7d10-b1de-64f0a52c9e02' })
  @ApiNoContentResponse({ description: 'Set' })
  @ApiProblem(400, 'validation_failed', 'immutability_invalid')
  @ApiProblem(404, 'repository_not_found')
  @ApiProblem(409, 'immutability_only_lengthens')
  async set(
    @Param('id', UuidParam) id: string,
    @Body() { mode, days }: ImmutabilityDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<void> {
    const { position } = await this.commands.execute(new SetImmutability(id, { mode, days }, context));
    answerPosition(response, position);
  }
}
