import { Controller, Delete, HttpCode, Param, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiNoContentResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { DeleteCopy } from '../model/copy.commands.js';

@ApiTags('copies')
@Controller('copies')
export class DeleteCopyController {
  constructor(private readonly commands: CommandBus) {}

  @Delete(':copy_id')
  @HttpCode(204)
  @ApiOperation({
    summary: 'Delete a copy and its files',
    description:
      'Refused while it is locked, another copy depends on it, or something reads it. The restore point that it was copied from, and its other copies, stay.',
  })
  @ApiNoContentResponse({ description: 'Deleted' })
  @ApiProblem(404, 'copy_not_found')
  @ApiProblem(409, 'copy_not_ended', 'copy_in_use', 'copy_locked')
  @ApiProblem(503, 'read_model_behind')
  async delete(@Param('copy_id', UuidParam) copyId: string, @Context() context: CommandContext, @Res({ passthrough: true }) response: Response): Promise<void> {
    answerPosition(response, (await this.commands.execute(new DeleteCopy(copyId, context))).position);
  }
}
