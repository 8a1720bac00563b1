import { Controller, HttpCode, Param, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiAcceptedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { CancelBackup } from '../model/backup.commands.js';
import { BackupResponse, toBackupResponse } from '../model/backup.response.js';

@ApiTags('backups')
@Controller('backups')
export class CancelBackupController {
  constructor(
    private readonly commands: CommandBus,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
  ) {}

  @Post(':backup_id/cancel')
  @HttpCode(202)
  @ApiOperation({
    summary: 'Stop a backup and undo it',
    description:
      'The backup is cancelled at once. Its transfer is then stopped and its files are removed; the event BackupUndone marks the end of this clean-up.',
  })
  @ApiAcceptedResponse({ type: BackupResponse, description: 'The cancelled backup' })
  @ApiProblem(404, 'backup_not_found')
  @ApiProblem(409, 'backup_already_ended')
  async cancel(
    @Param('backup_id', UuidParam) backupId: string,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<BackupResponse> {
    const { position } = await this.commands.execute(new CancelBackup(backupId, context));
    await this.readModels.waitFor(position, 'backups');
    answerPosition(response, position);
    return toBackupResponse(await this.dataSource.getRepository(BackupReadModel).findOneByOrFail({ backup_id: backupId }));
  }
}
