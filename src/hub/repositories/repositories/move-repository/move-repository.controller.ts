import { Body, Controller, HttpCode, Param, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { MoveRepository } from '../model/repository.commands.js';
import { requestedLocation } from '../model/requested-location.plan.js';
import { CreatedRepositoryDto, toRepositoryFacts } from '../model/repository.response.js';
import { MoveRepositoryDto } from './move-repository.dto.js';

@ApiTags('repositories')
@Controller('repositories')
export class MoveRepositoryController {
  constructor(private readonly commands: CommandBus) {}

  @Post(':id/move')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Use a repository at another place',
    description: 'Copies nothing: the place must already hold the repository, by its marker. The same path with another `require_mount` is possible as well.',
  })
  @ApiParam({ name: 'id', example: '0199a3c0-2b40-7d10-b1de-64f0a52c9e02' })
  @ApiOkResponse({ type: CreatedRepositoryDto })
  @ApiProblem(
    400,
    'validation_failed',
    'repository_path_invalid',
    'repository_not_mounted',
    'repository_path_missing',
    'repository_path_not_a_directory',
    'repository_marker_missing',
    'repository_not_writable',
    'repository_location_invalid',
    'share_not_mounted',
  )
  @ApiProblem(404, 'repository_not_found')
  @ApiProblem(409, 'repository_in_use', 'repository_overlaps', 'repository_already_used')
  @ApiProblem(503, 'repository_unavailable', 'share_not_mounted', 'read_model_behind')
  @ApiProblem(507, 'repository_full')
  async move(
    @Param('id', UuidParam) id: string,
    @Body() body: MoveRepositoryDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<CreatedRepositoryDto> {
    const { repository, capabilities, position } = await this.commands.execute(new MoveRepository(id, requestedLocation(body), context));
    answerPosition(response, position);
    return { ...toRepositoryFacts(repository, capabilities), position };
  }
}
