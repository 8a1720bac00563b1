import { Body, Controller, HttpCode, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiAcceptedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { DataSource } from 'typeorm';
import { RestoreJobReadModel } from '../../../projections/restore-jobs/restore-jobs.read-model.js';
import type { CommandContext } from '../../kernel/command-context.js';
import { Context } from '../../platform/http/command-context.interceptor.js';
import { answerPosition } from '../../platform/http/own-writes.interceptor.js';
import { ApiProblem } from '../../platform/http/problem-responses.decorator.js';
import { ReadModels } from '../../platform/postgres/read-models.js';
import type { StartedRestore } from '../model/restore-job.commands.js';
import { RestoreJobResponse, toRestoreJobResponse } from '../model/restore-job.response.js';
import { RestoreProgress } from '../model/restore-progress.registry.js';
import { StartVmRestore } from '../model/vm-restore.commands.js';
import { StartVmRestoreRequest } from './start-vm-restore.dto.js';

const READ_MODEL_PATIENCE_MS = 10_000;

@ApiTags('Restore')
@Controller('restore/vms')
export class StartVmRestoreController {
  constructor(
    private readonly commands: CommandBus,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly progress: RestoreProgress,
  ) {}

  @Post()
  @HttpCode(202)
  @ApiOperation({
    summary: 'Make a VM of a restore point, as a new libvirt domain of a node',
    description:
      'Answers at once; GET /restore/jobs/{job_id} tells how it goes, and what of the definition could not stay as it was. The node copies the disks into the storage path, or uses them over NBD at once. The domain is defined only when every disk reads the same as the restore point. Nothing that exists is replaced. A job that fails or is cancelled leaves nothing behind.',
  })
  @ApiAcceptedResponse({ type: RestoreJobResponse, description: 'The job' })
  @ApiProblem(400, 'validation_failed', 'storage_path_or_instant')
  @ApiProblem(404, 'backup_not_found', 'repository_not_found', 'node_not_found')
  @ApiProblem(409, 'backup_not_restorable', 'restore_point_damaged', 'definition_missing')
  @ApiProblem(410, 'restore_point_missing')
  @ApiProblem(503, 'repository_unavailable', 'read_model_behind')
  async start(
    @Body() body: StartVmRestoreRequest,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<RestoreJobResponse> {
    const { job_id, position } = await this.commands.execute<StartVmRestore, StartedRestore>(
      new StartVmRestore(
        {
          backupId: body.backup_id.toLowerCase(),
          nodeId: body.node_id ?? null,
          name: body.name,
          storagePath: body.storage_path ?? null,
          instant: body.instant,
          keepIdentity: body.keep_identity,
          start: body.start,
          network: body.network,
          libvirtNetwork: body.libvirt_network ?? null,
          allowDamaged: body.allow_damaged,
        },
        context,
      ),
    );
    if (position !== null) await this.readModels.waitFor(position, READ_MODEL_PATIENCE_MS, 'restore_jobs');
    answerPosition(response, position);
    response.location(`/api/v1/restore/jobs/${job_id}`);
    return toRestoreJobResponse(await this.dataSource.getRepository(RestoreJobReadModel).findOneByOrFail({ job_id }), this.progress);
  }
}
