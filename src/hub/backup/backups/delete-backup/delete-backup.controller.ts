import { Controller, Delete, HttpCode, Param, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiNoContentResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { DeleteBackup } from '../model/backup.commands.js';

@ApiTags('backups')
@Controller('backups')
export class DeleteBackupController {
  constructor(private readonly commands: CommandBus) {}

  @Delete(':backup_id')
  @HttpCode(204)
  @ApiOperation({
    summary: 'Delete a restore point and its files',
    description:
      'Only the newest restore point of a chain can be deleted, and none that is pinned, held or locked. A failed or cancelled backup has no files and is only marked as deleted. Deleted backups stay in `GET /backups` with the status `deleted`.',
  })
  @ApiNoContentResponse({ description: 'Deleted' })
  @ApiProblem(404, 'backup_not_found')
  @ApiProblem(
    409,
    'restore_point_in_use',
    'restore_point_mounted',
    'restore_point_pinned',
    'restore_point_held',
    'restore_point_locked',
    'backup_not_ended',
    'backup_not_undone',
  )
  async delete(
    @Param('backup_id', UuidParam) backupId: string,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<void> {
    const { position } = await this.commands.execute(new DeleteBackup(backupId, context));
    answerPosition(response, position);
  }
}
