import { Body, Controller, HttpCode, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiAcceptedResponse, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { DataSource } from 'typeorm';
import { refuseDamaged, restorableBackup } from '../../../backup/backups/model/restore-points.reader.js';
import { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { RestoreJobResponse, toRestoreJobResponse } from '../model/restore-job.response.js';
import { RestoreProgress } from '../model/restore-progress.registry.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { StartVmRestore, type WantedVm } from '../model/vm-restore.commands.js';
import { PreviewVmRestore } from './preview-vm-restore.service.js';
import { StartVmRestoreRequest, VmRestorePreviewResponse } from './start-vm-restore.dto.js';

@ApiTags('restore')
@Controller('restore/vms')
export class StartVmRestoreController {
  constructor(
    private readonly commands: CommandBus,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly progress: RestoreProgress,
    private readonly previews: PreviewVmRestore,
    private readonly files: RepositoryFiles,
  ) {}

  @Post()
  @HttpCode(202)
  @ApiOperation({
    summary: 'Restore a restore point as a VM: a new libvirt domain on a node',
    description:
      'Answers immediately; GET /restore/jobs/{job_id} shows the progress and the changes to the definition. The node copies the disks to the storage path, or uses them over NBD immediately. The domain is defined only after every disk has been compared with the restore point. Nothing existing is replaced. A failed or cancelled job leaves nothing behind.',
  })
  @ApiAcceptedResponse({ type: RestoreJobResponse, description: 'The job' })
  @ApiProblem(400, 'validation_failed', 'storage_path_or_instant')
  @ApiProblem(404, 'backup_not_found', 'repository_not_found', 'copy_not_found', 'node_not_found')
  @ApiProblem(409, 'backup_not_restorable', 'restore_point_damaged', 'definition_missing', 'definition_broken', 'manifest_differs', 'changes_not_accepted')
  @ApiProblem(410, 'restore_point_missing', 'manifest_broken')
  @ApiProblem(503, 'repository_unavailable', 'restore_point_being_rewritten', 'read_model_behind')
  async start(
    @Body() body: StartVmRestoreRequest,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<RestoreJobResponse> {
    const { job_id, position } = await this.commands.execute(new StartVmRestore(wantedIn(body), context));
    await this.readModels.waitFor(position, 'restore_jobs');
    answerPosition(response, position);
    response.location(`/api/v1/restore/jobs/${job_id}`);
    return toRestoreJobResponse(await this.dataSource.getRepository(RestoreJobReadModel).findOneByOrFail({ job_id }), this.progress);
  }

  @Post('preview')
  @HttpCode(200)
  @ApiOperation({
    summary: "Preview the changes to a VM's definition",
    description:
      "Takes the body of POST /restore/vms and creates nothing. Only elements known to describe the guest's machine are kept in the definition; everything else is removed and listed in `changes`.",
  })
  @ApiOkResponse({ type: VmRestorePreviewResponse, description: 'The definition as the node would get it' })
  @ApiProblem(404, 'backup_not_found', 'repository_not_found', 'copy_not_found')
  @ApiProblem(409, 'backup_not_restorable', 'restore_point_damaged', 'definition_missing', 'definition_broken', 'manifest_differs')
  @ApiProblem(410, 'restore_point_missing', 'manifest_broken')
  @ApiProblem(503, 'repository_unavailable', 'restore_point_being_rewritten', 'read_model_behind')
  async preview(@Body() body: StartVmRestoreRequest): Promise<VmRestorePreviewResponse> {
    const backup = await restorableBackup(this.readModels, this.dataSource, this.files, body.backup_id.toLowerCase(), wantedIn(body));
    refuseDamaged(backup, body.allow_damaged);
    const { xml, ...preview } = await this.previews.preview(backup, wantedIn(body));
    return { ...preview, definition: xml };
  }
}

function wantedIn(body: StartVmRestoreRequest): WantedVm {
  return {
    backupId: body.backup_id.toLowerCase(),
    repositoryId: body.repository_id?.toLowerCase() ?? null,
    nodeId: body.node_id ?? null,
    name: body.name,
    storagePath: body.storage_path ?? null,
    instant: body.instant,
    keepIdentity: body.keep_identity,
    start: body.start,
    acceptChanges: body.accept_changes,
    network: body.network,
    libvirtNetwork: body.libvirt_network ?? null,
    allowDamaged: body.allow_damaged,
  };
}
