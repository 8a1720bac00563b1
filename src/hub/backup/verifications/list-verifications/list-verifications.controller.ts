import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { VerificationReadModel } from '../../../../../projections/verifications/verifications.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { ApiPage, type Page, PageQuery, readPage } from '../../../operations/http/cursor-page.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { toVerificationResponse, VerificationResponse } from '../model/verification.response.js';

@ApiTags('backups')
@Controller('backups')
export class ListVerificationsController {
  constructor(private readonly dataSource: DataSource) {}

  @Get(':backup_id/verifications')
  @ApiOperation({ summary: 'Verifications of a restore point, newest first' })
  @ApiPage('verifications', VerificationResponse, 'A page of verifications')
  @ApiProblem(404, 'backup_not_found')
  async list(@Param('backup_id', UuidParam) backupId: string, @Query() query: PageQuery): Promise<Page<'verifications', VerificationResponse>> {
    const page = await readPage(this.dataSource, query, {
      name: 'verifications',
      readModel: VerificationReadModel,
      order: ['created_position'],
      direction: 'DESC',
      filters: { backup_id: backupId },
      itemOf: toVerificationResponse,
    });
    if (page.verifications.length === 0 && !(await this.dataSource.getRepository(BackupReadModel).existsBy({ backup_id: backupId }))) {
      throw new DomainError('not_found', 'backup_not_found', `There is no backup ${backupId}.`, { backup_id: backupId });
    }
    return page;
  }
}
