import { Controller, Delete, HttpCode, Param, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiNoContentResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { RemoveVm } from '../model/vm.commands.js';

@ApiTags('vms')
@Controller('vms')
export class RemoveVmController {
  constructor(private readonly commands: CommandBus) {}

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({ summary: 'Remove a VM that has no backups', description: 'Its disks are not touched.' })
  @ApiNoContentResponse({ description: 'Removed' })
  @ApiProblem(404, 'vm_not_found')
  @ApiProblem(409, 'vm_has_backups')
  @ApiProblem(503, 'read_model_behind')
  async remove(@Param('id', UuidParam) id: string, @Context() context: CommandContext, @Res({ passthrough: true }) response: Response): Promise<void> {
    answerPosition(response, await this.commands.execute(new RemoveVm(id, context)));
  }
}
