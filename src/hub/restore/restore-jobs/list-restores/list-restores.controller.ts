import { Controller, Get, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { IsIn } from 'class-validator';
import { DataSource } from 'typeorm';
import { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import { ApiPage, type Page, PageQuery, readPage } from '../../../operations/http/cursor-page.js';
import { RestoreJobResponse, toRestoreJobResponse } from '../model/restore-job.response.js';
import { RestoreProgress } from '../model/restore-progress.registry.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';

const STATUSES = ['running', 'completed', 'failed', 'cancelled'] as const;

export class ListRestoresQuery extends PageQuery {
  /** Only jobs of this restore point @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */
  @Optional()
  @IsUuid()
  backup_id?: string;

  /** Only jobs with this status */
  @Optional()
  @IsIn(STATUSES)
  status?: (typeof STATUSES)[number];
}

@ApiTags('restore')
@Controller('restore/jobs')
export class ListRestoresController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly progress: RestoreProgress,
  ) {}

  @Get()
  @ApiOperation({ summary: 'List restore jobs, newest first' })
  @ApiPage('jobs', RestoreJobResponse, 'A page of restore jobs')
  list(@Query() query: ListRestoresQuery): Promise<Page<'jobs', RestoreJobResponse>> {
    return readPage(this.dataSource, query, {
      name: 'jobs',
      readModel: RestoreJobReadModel,
      order: ['created_position'],
      direction: 'DESC',
      filters: { backup_id: query.backup_id?.toLowerCase(), status: query.status },
      itemOf: (row) => toRestoreJobResponse(row, this.progress),
    });
  }
}
