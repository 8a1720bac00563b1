import { Body, Controller, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiCreatedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { CreateRepository } from '../model/repository.commands.js';
import { requestedLocation } from '../model/requested-location.plan.js';
import { CreatedRepositoryDto, toRepositoryFacts } from '../model/repository.response.js';
import { CreateRepositoryDto } from './create-repository.dto.js';

@ApiTags('repositories')
@Controller('repositories')
export class CreateRepositoryController {
  constructor(private readonly commands: CommandBus) {}

  @Post()
  @ApiOperation({ summary: 'Create a repository in a folder or on a share', description: 'The path is tested first, as by POST /repositories/test.' })
  @ApiCreatedResponse({ type: CreatedRepositoryDto })
  @ApiProblem(
    400,
    'validation_failed',
    'repository_path_invalid',
    'repository_not_mounted',
    'repository_path_missing',
    'repository_path_not_a_directory',
    'repository_not_writable',
    'repository_location_invalid',
    'share_not_mounted',
  )
  @ApiProblem(409, 'repository_name_taken', 'repository_overlaps', 'repository_already_used', 'repository_deleted')
  @ApiProblem(503, 'repository_unavailable', 'share_not_mounted', 'read_model_behind')
  @ApiProblem(507, 'repository_full')
  async create(
    @Body() body: CreateRepositoryDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<CreatedRepositoryDto> {
    const command = new CreateRepository(body.name, requestedLocation(body), context);
    const { repository, capabilities, position } = await this.commands.execute(command);
    answerPosition(response, position);
    response.location(`/api/v1/repositories/${repository.repository_id}`);
    return { ...toRepositoryFacts(repository, capabilities), position };
  }
}
