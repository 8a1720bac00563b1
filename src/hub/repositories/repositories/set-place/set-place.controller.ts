import { Body, Controller, Get, HttpCode, Param, Put, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { DataSource } from 'typeorm';
import { RepositoryPlaceReadModel } from '../../../../../projections/repository-places/repository-places.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { SetRepositoryPlace } from '../model/place.commands.js';
import { RepositoryPlaceDto, RepositoryPlaceResponse } from './set-place.dto.js';

@ApiTags('repositories')
@Controller('repositories')
export class SetPlaceController {
  constructor(
    private readonly commands: CommandBus,
    private readonly dataSource: DataSource,
  ) {}

  @Put(':id/place')
  @HttpCode(204)
  @ApiOperation({
    summary: 'State where a repository is',
    description:
      'The hub cannot see this. The report `three-two-one` judges by it whether copies of a VM would survive the loss of a site or of a kind of storage.',
  })
  @ApiParam({ name: 'id', example: '0199a3c0-2b40-7d10-b1de-64f0a52c9e03' })
  @ApiNoContentResponse({ description: 'Recorded' })
  @ApiProblem(400, 'validation_failed')
  @ApiProblem(404, 'repository_not_found')
  @ApiProblem(503, 'read_model_behind')
  async set(
    @Param('id', UuidParam) id: string,
    @Body() { site, off_site, medium }: RepositoryPlaceDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<void> {
    const { position } = await this.commands.execute(new SetRepositoryPlace(id, { site, off_site, medium }, context));
    answerPosition(response, position);
  }

  @Get(':id/place')
  @ApiOperation({ summary: 'Where a repository is, as it was stated' })
  @ApiParam({ name: 'id', example: '0199a3c0-2b40-7d10-b1de-64f0a52c9e03' })
  @ApiOkResponse({ type: RepositoryPlaceResponse })
  @ApiProblem(404, 'repository_place_not_set')
  async get(@Param('id', UuidParam) id: string): Promise<RepositoryPlaceResponse> {
    const found = await this.dataSource.getRepository(RepositoryPlaceReadModel).findOneBy({ repository_id: id });
    if (found === null) {
      throw new DomainError('not_found', 'repository_place_not_set', `Nobody has stated where repository ${id} is. Use PUT /repositories/${id}/place.`, {
        repository_id: id,
      });
    }
    const { repository_id, site, off_site, medium, set_at, position } = found;
    return { repository_id, site, off_site, medium, set_at: set_at.toISOString(), position };
  }
}
