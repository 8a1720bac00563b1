import { Controller, Delete, HttpCode, Param, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiNoContentResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { DeleteRepository } from '../model/repository.commands.js';

@ApiTags('repositories')
@Controller('repositories')
export class DeleteRepositoryController {
  constructor(private readonly commands: CommandBus) {}

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({
    summary: 'Delete a repository that holds no backups and no copies, and that no policy uses',
    description: 'The folder stays; only its marker is removed.',
  })
  @ApiNoContentResponse({ description: 'Deleted' })
  @ApiProblem(404, 'repository_not_found')
  @ApiProblem(409, 'repository_has_backups', 'repository_used_by_policies')
  @ApiProblem(503, 'read_model_behind')
  async delete(@Param('id', UuidParam) id: string, @Context() context: CommandContext, @Res({ passthrough: true }) response: Response): Promise<void> {
    answerPosition(response, await this.commands.execute(new DeleteRepository(id, context)));
  }
}
