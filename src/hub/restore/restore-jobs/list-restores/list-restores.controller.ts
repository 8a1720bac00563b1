import { Controller, Get, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { IsIn } from 'class-validator';
import { DataSource } from 'typeorm';
import { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import type { JsonObject } from '../../../../kernel/json.js';
import { ApiPage, decodeCursor, type Page, pageOf, PageQuery } from '../../../operations/http/cursor-page.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { RestoreJobResponse, toRestoreJobResponse } from '../model/restore-job.response.js';
import { RestoreProgress } from '../model/restore-progress.registry.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../lib/http/uuid.decorator.js';

const STATUSES = ['running', 'completed', 'failed', 'cancelled'];

type JobsKey = { readonly created_position: string };

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
  @ApiProblem(400, 'validation_failed', 'cursor_invalid')
  async list(@Query() query: ListRestoresQuery): Promise<Page<'jobs', RestoreJobResponse>> {
    const before = decodeCursor(query.cursor, isJobsKey);
    const select = this.dataSource
      .getRepository(RestoreJobReadModel)
      .createQueryBuilder('j')
      .orderBy('j.created_position', 'DESC')
      .take(query.limit + 1);
    if (query.backup_id !== undefined) select.andWhere('j.backup_id = :backup_id', { backup_id: query.backup_id.toLowerCase() });
    if (query.status !== undefined) select.andWhere('j.status = :status', { status: query.status });
    if (before !== null) select.andWhere('j.created_position < :before', { before: before.created_position });
    return pageOf(
      'jobs',
      await select.getMany(),
      query.limit,
      ({ created_position }) => ({ created_position }),
      (row) => toRestoreJobResponse(row, this.progress),
    );
  }
}

function isJobsKey(key: JsonObject): key is JobsKey {
  return typeof key['created_position'] === 'string';
}
