import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { PolicyOccurrenceReadModel } from '../../../../../projections/policy-occurrences/policy-occurrences.read-model.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { ApiPage, type Page, readPage } from '../../../operations/http/cursor-page.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { OccurrenceReader } from '../model/occurrence.reader.js';
import { OccurrenceResponse } from '../model/occurrence.response.js';
import { PolicyReader } from '../model/policy.reader.js';
import { ListOccurrencesQuery } from './list-occurrences.dto.js';

@ApiTags('policies')
@Controller('policies')
export class ListOccurrencesController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly policies: PolicyReader,
    private readonly occurrences: OccurrenceReader,
  ) {}

  @Get(':id/occurrences')
  @ApiOperation({ summary: 'Runs of a policy, newest record first: also those that did not start, and why' })
  @ApiParam({ name: 'id', example: '0199a3c0-5511-7c3e-8a55-9b1d3c1f0e5b' })
  @ApiPage('occurrences', OccurrenceResponse, 'A page of occurrences')
  @ApiProblem(404, 'policy_not_found')
  @ApiProblem(503, 'read_model_behind', 'projection_halted')
  async list(@Param('id', UuidParam) id: string, @Query() query: ListOccurrencesQuery): Promise<Page<'occurrences', OccurrenceResponse>> {
    const page = await readPage(this.dataSource, query, {
      name: 'occurrences',
      readModel: PolicyOccurrenceReadModel,
      order: ['created_position'],
      direction: 'DESC',
      filters: { policy_id: id, outcome: query.outcome },
      itemOf: (row) => row,
    });
    // The runs of a deleted policy stay.
    if (page.occurrences.length === 0) await this.policies.one(id);
    return { ...page, occurrences: await this.occurrences.responsesOf(page.occurrences) };
  }
}
