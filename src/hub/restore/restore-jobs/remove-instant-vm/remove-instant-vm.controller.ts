import { Controller, Delete, HttpCode, Param, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiNoContentResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { RemoveInstantVm } from '../model/vm-restore.commands.js';

@ApiTags('restore')
@Controller('restore/vms')
export class RemoveInstantVmController {
  constructor(private readonly commands: CommandBus) {}

  @Delete(':job_id')
  @HttpCode(204)
  @ApiOperation({
    summary: 'Remove an instant VM and discard the data written to it',
    description:
      'Forces the VM off, undefines the domain and ends its exports. Answers when that is done, or after 20 s; `cleaned_up` of the restore job shows when it is done.',
  })
  @ApiNoContentResponse({ description: 'Removal requested' })
  @ApiProblem(404, 'restore_job_not_found')
  @ApiProblem(409, 'restore_job_running', 'vm_not_instant')
  async remove(@Param('job_id', UuidParam) jobId: string, @Context() context: CommandContext, @Res({ passthrough: true }) response: Response): Promise<void> {
    answerPosition(response, await this.commands.execute(new RemoveInstantVm(jobId, context)));
  }
}
