import { Controller, Get, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { ApiPage, type Page, readPage } from '../../../operations/http/cursor-page.js';
import { CapacityReader } from '../model/capacity.reader.js';
import { RepositoryResponse, toRepositoryResponse } from '../model/repository.response.js';
import { ListRepositoriesQuery } from './list-repositories.dto.js';

@ApiTags('repositories')
@Controller('repositories')
export class ListRepositoriesController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly capacities: CapacityReader,
  ) {}

  @Get()
  @ApiOperation({ summary: 'List repositories by name' })
  @ApiPage('repositories', RepositoryResponse, 'A page of repositories')
  async list(@Query() query: ListRepositoriesQuery): Promise<Page<'repositories', RepositoryResponse>> {
    const capacities = await this.capacities.all();
    return readPage(this.dataSource, query, {
      name: 'repositories',
      readModel: RepositoryReadModel,
      order: ['name', 'repository_id'],
      direction: 'ASC',
      filters: { name: query.name },
      itemOf: (repository) => toRepositoryResponse(repository, capacities.get(repository.repository_id) ?? null),
    });
  }
}
