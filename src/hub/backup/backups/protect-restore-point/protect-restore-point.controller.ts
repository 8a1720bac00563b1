import { Body, Controller, HttpCode, Param, Post, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Context } from '../../../../lib/http/command-context.interceptor.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { answerPosition } from '../../../operations/http/own-writes.interceptor.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { ProtectRestorePoint } from '../model/backup.commands.js';
import { BackupResponse, toBackupResponse } from '../model/backup.response.js';
import { ProtectionDto } from './protect-restore-point.dto.js';

@ApiTags('backups')
@Controller('backups')
export class ProtectRestorePointController {
  constructor(
    private readonly commands: CommandBus,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
  ) {}

  @Post(':backup_id/pin')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Pin a restore point',
    description: 'A pinned restore point does not expire and cannot be deleted. Pinning takes back an expiry whose files have not been removed.',
  })
  @ApiOkResponse({ type: BackupResponse })
  @ApiProblem(404, 'backup_not_found')
  @ApiProblem(409, 'not_a_restore_point')
  pin(
    @Param('backup_id', UuidParam) id: string,
    @Body() { reason }: ProtectionDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<BackupResponse> {
    return this.protect(new ProtectRestorePoint(id, 'pin', reason, context), response);
  }

  @Post(':backup_id/unpin')
  @HttpCode(200)
  @ApiOperation({ summary: 'Unpin a restore point', description: 'From then on it is kept or expires as the retention of its policy decides.' })
  @ApiOkResponse({ type: BackupResponse })
  @ApiProblem(404, 'backup_not_found')
  @ApiProblem(409, 'not_a_restore_point')
  unpin(
    @Param('backup_id', UuidParam) id: string,
    @Body() { reason }: ProtectionDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<BackupResponse> {
    return this.protect(new ProtectRestorePoint(id, 'unpin', reason, context), response);
  }

  @Post(':backup_id/hold')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Hold a restore point',
    description: 'As a pin, and independent of it: for reasons outside of operations, such as a legal dispute. Unpinning does not end a hold.',
  })
  @ApiOkResponse({ type: BackupResponse })
  @ApiProblem(404, 'backup_not_found')
  @ApiProblem(409, 'not_a_restore_point')
  hold(
    @Param('backup_id', UuidParam) id: string,
    @Body() { reason }: ProtectionDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<BackupResponse> {
    return this.protect(new ProtectRestorePoint(id, 'hold', reason, context), response);
  }

  @Post(':backup_id/release')
  @HttpCode(200)
  @ApiOperation({ summary: 'End the hold of a restore point' })
  @ApiOkResponse({ type: BackupResponse })
  @ApiProblem(404, 'backup_not_found')
  @ApiProblem(409, 'not_a_restore_point')
  release(
    @Param('backup_id', UuidParam) id: string,
    @Body() { reason }: ProtectionDto,
    @Context() context: CommandContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<BackupResponse> {
    return this.protect(new ProtectRestorePoint(id, 'release', reason, context), response);
  }

  private async protect(command: ProtectRestorePoint, response: Response): Promise<BackupResponse> {
    const { position } = await this.commands.execute(command);
    await this.readModels.waitFor(position, 'backups');
    answerPosition(response, position);
    return toBackupResponse(await this.dataSource.getRepository(BackupReadModel).findOneByOrFail({ backup_id: command.backupId }));
  }
}
