import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { BackupResponse, toBackupResponse } from '../model/backup.response.js';
import { BackupAsOf } from './backup-as-of.reader.js';
import { GetBackupQuery } from './get-backup.dto.js';

@ApiTags('backups')
@Controller('backups')
export class GetBackupController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly asOf: BackupAsOf,
  ) {}

  @Get(':backup_id')
  @ApiOperation({ summary: 'One backup, as it is now or as it was at a given time' })
  @ApiParam({ name: 'backup_id', example: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11' })
  @ApiOkResponse({ type: BackupResponse })
  @ApiProblem(404, 'backup_not_found')
  async get(@Param('backup_id', UuidParam) id: string, @Query() query: GetBackupQuery): Promise<BackupResponse> {
    const record =
      query.as_of === undefined
        ? await this.dataSource.getRepository(BackupReadModel).findOneBy({ backup_id: id })
        : await this.asOf.find(id, new Date(query.as_of));
    if (record === null) {
      const when = query.as_of === undefined ? '' : ` at ${query.as_of}`;
      throw new DomainError('not_found', 'backup_not_found', `There is no backup ${id}${when}.`, { backup_id: id });
    }
    return toBackupResponse(record);
  }
}
