import { Controller, Get, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import type { JsonObject } from '../../../../kernel/json.js';
import { ApiPage, decodeCursor, type Page, pageOf } from '../../../operations/http/cursor-page.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { RepositoryResponse, toRepositoryResponse } from '../model/repository.response.js';
import { ListRepositoriesQuery } from './list-repositories.dto.js';

type RepositoriesKey = { readonly name: string; readonly repository_id: string };

@ApiTags('repositories')
@Controller('repositories')
export class ListRepositoriesController {
  constructor(private readonly dataSource: DataSource) {}

  @Get()
  @ApiOperation({ summary: 'List repositories by name' })
  @ApiPage('repositories', RepositoryResponse, 'A page of repositories')
  @ApiProblem(400, 'validation_failed', 'cursor_invalid')
  async list(@Query() query: ListRepositoriesQuery): Promise<Page<'repositories', RepositoryResponse>> {
    const after = decodeCursor(query.cursor, isRepositoriesKey);
    const select = this.dataSource
      .getRepository(RepositoryReadModel)
      .createQueryBuilder('r')
      .orderBy('r.name')
      .addOrderBy('r.repository_id')
      .take(query.limit + 1);
    if (query.name !== undefined) select.andWhere('r.name = :name', { name: query.name });
    if (after !== null) select.andWhere('(r.name, r.repository_id) > (:after_name, :after_id)', { after_name: after.name, after_id: after.repository_id });
    return pageOf('repositories', await select.getMany(), query.limit, ({ name, repository_id }) => ({ name, repository_id }), toRepositoryResponse);
  }
}

function isRepositoriesKey(key: JsonObject): key is RepositoriesKey {
  return typeof key['name'] === 'string' && typeof key['repository_id'] === 'string';
}
