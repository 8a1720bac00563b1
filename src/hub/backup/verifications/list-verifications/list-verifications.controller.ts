import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { VerificationReadModel } from '../../../../../projections/verifications/verifications.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import type { JsonObject } from '../../../../kernel/json.js';
import { ApiPage, decodeCursor, type Page, pageOf, PageQuery } from '../../../operations/http/cursor-page.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { toVerificationResponse, VerificationResponse } from '../model/verification.response.js';

type VerificationsKey = { readonly created_position: string };

@ApiTags('backups')
@Controller('backups')
export class ListVerificationsController {
  constructor(private readonly dataSource: DataSource) {}

  @Get(':backup_id/verifications')
  @ApiOperation({ summary: 'Verifications of a restore point, newest first' })
  @ApiPage('verifications', VerificationResponse, 'A page of verifications')
  @ApiProblem(400, 'validation_failed', 'cursor_invalid')
  @ApiProblem(404, 'backup_not_found')
  async list(@Param('backup_id', UuidParam) backupId: string, @Query() query: PageQuery): Promise<Page<'verifications', VerificationResponse>> {
    const before = decodeCursor(query.cursor, isVerificationsKey);
    if (!(await this.dataSource.getRepository(BackupReadModel).existsBy({ backup_id: backupId }))) {
      throw new DomainError('not_found', 'backup_not_found', `There is no backup ${backupId}.`, { backup_id: backupId });
    }
    const select = this.dataSource
      .getRepository(VerificationReadModel)
      .createQueryBuilder('v')
      .where('v.backup_id = :backupId', { backupId })
      .orderBy('v.created_position', 'DESC')
      .take(query.limit + 1);
    if (before !== null) select.andWhere('v.created_position < :before', { before: before.created_position });
    return pageOf('verifications', await select.getMany(), query.limit, ({ created_position }) => ({ created_position }), toVerificationResponse);
  }
}

function isVerificationsKey(key: JsonObject): key is VerificationsKey {
  return typeof key['created_position'] === 'string';
}
