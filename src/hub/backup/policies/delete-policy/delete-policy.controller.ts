import { Controller, Delete, HttpCode, Param, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiNoContentResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { DeletePolicy } from '../model/policy.commands.js';

@ApiTags('policies')
@Controller('policies')
export class DeletePolicyController {
  constructor(private readonly commands: CommandBus) {}

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({
    summary: 'Delete a policy',
    description: 'Its restore points stay, and so do backups that it has started. Runs that are due and have not begun end as skipped (`policy_deleted`).',
  })
  @ApiParam({ name: 'id', example: '0199a3c0-5511-7c3e-8a55-9b1d3c1f0e5b' })
  @ApiNoContentResponse({ description: 'Deleted' })
  @ApiProblem(404, 'policy_not_found')
  async delete(@Param('id', UuidParam) id: string, @Context() context: CommandContext, @Res({ passthrough: true }) response: Response): Promise<void> {
    answerPosition(response, await this.commands.execute(new DeletePolicy(id, context)));
  }
}
