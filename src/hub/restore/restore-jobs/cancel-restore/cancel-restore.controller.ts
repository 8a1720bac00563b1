import { Controller, HttpCode, Param, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiAcceptedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { DataSource } from 'typeorm';
import { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { CancelRestore } from '../model/restore-job.commands.js';
import { RestoreJobResponse, toRestoreJobResponse } from '../model/restore-job.response.js';
import { RestoreProgress } from '../model/restore-progress.registry.js';

@ApiTags('restore')
@Controller('restore/jobs')
export class CancelRestoreController {
  constructor(
    private readonly commands: CommandBus,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly progress: RestoreProgress,
  ) {}

  @Post(':job_id/cancel')
  @HttpCode(202)
  @ApiOperation({
    summary: 'Cancel a restore and remove the files it has written',
    description: 'The job is cancelled immediately. The files are removed afterwards; `cleaned_up` is true once that is done.',
  })
  @ApiAcceptedResponse({ type: RestoreJobResponse, description: 'The cancelled job' })
  @ApiProblem(404, 'restore_job_not_found')
  @ApiProblem(409, 'restore_job_already_ended')
  async cancel(
    @Param('job_id', UuidParam) jobId: string,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<RestoreJobResponse> {
    const position = await this.commands.execute(new CancelRestore(jobId, context));
    await this.readModels.waitFor(position, 'restore_jobs');
    answerPosition(response, position);
    return toRestoreJobResponse(await this.dataSource.getRepository(RestoreJobReadModel).findOneByOrFail({ job_id: jobId }), this.progress);
  }
}
