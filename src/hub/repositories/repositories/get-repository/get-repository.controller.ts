import { Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { CapacityReader } from '../model/capacity.reader.js';
import { RepositoryWithLocksResponse, toLocksResponse, toRepositoryResponse } from '../model/repository.response.js';
import { LockSummaries } from '../model/lock-summaries.registry.js';

@ApiTags('repositories')
@Controller('repositories')
export class GetRepositoryController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly capacities: CapacityReader,
    private readonly locks: LockSummaries,
  ) {}

  @Get(':id')
  @ApiOperation({ summary: 'Get a repository' })
  @ApiParam({ name: 'id', example: '0199a3c0-2b40-7d10-b1de-64f0a52c9e02' })
  @ApiOkResponse({ type: RepositoryWithLocksResponse })
  @ApiProblem(404, 'repository_not_found')
  async get(@Param('id', UuidParam) id: string): Promise<RepositoryWithLocksResponse> {
    const repository = await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id: id });
    if (repository === null) throw new DomainError('not_found', 'repository_not_found', `There is no repository ${id}.`, { repository_id: id });
    return Object.assign(toRepositoryResponse(repository, await this.capacities.of(id)), { locks: toLocksResponse(this.locks.of(id)) });
  }
}
