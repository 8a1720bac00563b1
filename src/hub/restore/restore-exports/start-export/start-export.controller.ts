import { Body, Controller, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiCreatedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { IsBoolean, IsIn, IsInt, Max, Min } from 'class-validator';
import type { Response } from 'express';
import { DataSource } from 'typeorm';
import { RestoreExportReadModel } from '../../../../../projections/restore-exports/restore-exports.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { StartRestoreExport } from '../model/restore-export.commands.js';
import type { RestoreExportMode } from '../model/restore-export.events.js';
import { RestoreExportResponse, toRestoreExportResponse } from '../model/restore-export.response.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../contract/validation/uuid.decorator.js';

const MODES: readonly RestoreExportMode[] = ['read_only', 'read_write'];

export class StartRestoreExportRequest {
  /** The restore point: any completed backup @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */
  @IsUuid()
  backup_id!: string;

  /**
   * The repository to read: the one it was backed up to, or one that has a copy; absent: the first, or a copy if that is gone, does not answer or is damaged
   * @example "0199a3c0-2b40-7d10-b1de-64f0a52c9e03"
   */
  @Optional()
  @IsUuid()
  repository_id?: string;

  /** Index of the disk, from 0 @example 0 */
  @IsInt()
  @Min(0)
  @Max(9999)
  disk_index!: number;

  /** `read_write`: writes go to an overlay that is discarded with the export; the backup never changes */
  @IsIn(MODES)
  mode!: RestoreExportMode;

  /** Publish the disk even if the restore point is known to be damaged, as far as it can be read */
  @Optional()
  @IsBoolean()
  allow_damaged = false;
}

@ApiTags('restore')
@Controller('restore/exports')
export class StartRestoreExportController {
  constructor(
    private readonly commands: CommandBus,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
  ) {}

  @Post()
  @ApiOperation({ summary: 'Publish a disk of a restore point over NBD, for booting or reading', description: 'Answers once clients can connect.' })
  @ApiCreatedResponse({ type: RestoreExportResponse, description: 'The export' })
  @ApiProblem(400, 'validation_failed', 'restore_disk_not_found')
  @ApiProblem(404, 'backup_not_found', 'repository_not_found', 'copy_not_found')
  @ApiProblem(409, 'backup_not_restorable', 'restore_point_damaged', 'restore_point_unsafe')
  @ApiProblem(
    503,
    'nbd_ports_exhausted',
    'export_not_started',
    'repository_unavailable',
    'restore_point_being_checked',
    'restore_point_being_rewritten',
    'read_model_behind',
    'tool_failed',
    'tool_missing',
  )
  async start(
    @Body() body: StartRestoreExportRequest,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<RestoreExportResponse> {
    const command = new StartRestoreExport(
      body.backup_id.toLowerCase(),
      body.disk_index,
      body.mode,
      body.allow_damaged,
      context,
      null,
      body.repository_id?.toLowerCase() ?? null,
    );
    const { export_id, position } = await this.commands.execute(command);
    await this.readModels.waitFor(position, 'restore_exports');
    answerPosition(response, position);
    return toRestoreExportResponse(await this.dataSource.getRepository(RestoreExportReadModel).findOneByOrFail({ export_id }));
  }
}
