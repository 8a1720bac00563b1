import { Body, Controller, HttpCode, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiAcceptedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { DataSource } from 'typeorm';
import { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { StartRestore } from '../model/restore-job.commands.js';
import { RestoreJobResponse, toRestoreJobResponse } from '../model/restore-job.response.js';
import { RestoreProgress } from '../model/restore-progress.registry.js';
import { StartRestoreRequest } from './start-restore.dto.js';

@ApiTags('restore')
@Controller('restore/disks')
export class StartRestoreController {
  constructor(
    private readonly commands: CommandBus,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly progress: RestoreProgress,
  ) {}

  @Post()
  @HttpCode(202)
  @ApiOperation({
    summary: 'Restore whole disks of a restore point to a directory on the hub',
    description:
      'Answers immediately; GET /restore/jobs/{job_id} shows the progress. The files get their final names only after every source file has matched its recorded hash and the restored disks have been compared with the restore point. A failed or cancelled job leaves nothing behind.',
  })
  @ApiAcceptedResponse({ type: RestoreJobResponse, description: 'The job' })
  @ApiProblem(
    400,
    'validation_failed',
    'restore_disk_not_found',
    'restore_chain_needs_qcow2',
    'target_missing',
    'target_not_a_folder',
    'target_not_writable',
    'target_in_repository',
    'target_refused',
  )
  @ApiProblem(404, 'backup_not_found', 'repository_not_found', 'copy_not_found')
  @ApiProblem(409, 'backup_not_restorable', 'restore_point_damaged', 'restore_point_unsafe', 'target_exists')
  @ApiProblem(503, 'repository_unavailable', 'restore_point_being_rewritten', 'storage_silent', 'read_model_behind')
  @ApiProblem(507, 'target_full')
  async start(
    @Body() body: StartRestoreRequest,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<RestoreJobResponse> {
    const { job_id, position } = await this.commands.execute(
      new StartRestore(
        {
          backupId: body.backup_id.toLowerCase(),
          repositoryId: body.repository_id?.toLowerCase() ?? null,
          disks: body.disks ?? null,
          targetPath: body.target_path,
          format: body.format,
          chain: body.chain,
          overwrite: body.overwrite,
          allowDamaged: body.allow_damaged,
        },
        context,
      ),
    );
    await this.readModels.waitFor(position, 'restore_jobs');
    answerPosition(response, position);
    response.location(`/api/v1/restore/jobs/${job_id}`);
    return toRestoreJobResponse(await this.dataSource.getRepository(RestoreJobReadModel).findOneByOrFail({ job_id }), this.progress);
  }
}
