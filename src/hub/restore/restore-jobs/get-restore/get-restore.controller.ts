import { Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { RestoreJobResponse, toRestoreJobResponse } from '../model/restore-job.response.js';
import { RestoreProgress } from '../model/restore-progress.registry.js';

@ApiTags('restore')
@Controller('restore/jobs')
export class GetRestoreController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly progress: RestoreProgress,
  ) {}

  @Get(':job_id')
  @ApiOperation({ summary: 'Show a restore job with its current progress' })
  @ApiOkResponse({ type: RestoreJobResponse })
  @ApiProblem(404, 'restore_job_not_found')
  async get(@Param('job_id', UuidParam) jobId: string): Promise<RestoreJobResponse> {
    const row = await this.dataSource.getRepository(RestoreJobReadModel).findOneBy({ job_id: jobId });
    if (row === null) throw new DomainError('not_found', 'restore_job_not_found', `Restore job ${jobId} does not exist.`, { job_id: jobId });
    return toRestoreJobResponse(row, this.progress);
  }
}
