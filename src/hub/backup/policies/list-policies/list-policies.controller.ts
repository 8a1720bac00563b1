import { Controller, Get, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { PolicyReadModel } from '../../../../../projections/policies/policies.read-model.js';
import { ApiPage, type Page, readPage } from '../../../operations/http/cursor-page.js';
import { PolicyResponse, toPolicyResponse } from '../model/policy.response.js';
import { ListPoliciesQuery } from './list-policies.dto.js';

@ApiTags('policies')
@Controller('policies')
export class ListPoliciesController {
  constructor(private readonly dataSource: DataSource) {}

  @Get()
  @ApiOperation({ summary: 'Policies, ordered by name' })
  @ApiPage('policies', PolicyResponse, 'A page of policies')
  list(@Query() query: ListPoliciesQuery): Promise<Page<'policies', PolicyResponse>> {
    return readPage(this.dataSource, query, {
      name: 'policies',
      readModel: PolicyReadModel,
      order: ['name', 'policy_id'],
      direction: 'ASC',
      filters: { name: query.name },
      itemOf: toPolicyResponse,
    });
  }
}
