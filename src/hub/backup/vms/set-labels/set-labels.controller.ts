import { Body, Controller, HttpCode, Param, Put, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiNoContentResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { SetVmLabels } from '../model/vm.commands.js';
import { SetLabelsDto } from './set-labels.dto.js';

@ApiTags('vms')
@Controller('vms')
export class SetLabelsController {
  constructor(private readonly commands: CommandBus) {}

  @Put(':id/labels')
  @HttpCode(204)
  @ApiOperation({ summary: 'Replace the labels of a VM, by which policies select it' })
  @ApiParam({ name: 'id', example: '0199a3c0-11aa-7c3e-8a55-9b1d3c1f0e5b' })
  @ApiNoContentResponse({ description: 'Set' })
  @ApiProblem(400, 'validation_failed')
  @ApiProblem(404, 'vm_not_found')
  async set(
    @Param('id', UuidParam) id: string,
    @Body() { labels }: SetLabelsDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<void> {
    answerPosition(response, await this.commands.execute(new SetVmLabels(id, labels, context)));
  }
}
