import { Controller, Get, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { And, DataSource, type FindOperator, LessThan, MoreThanOrEqual } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { ApiPage, type Page, readPage } from '../../../operations/http/cursor-page.js';
import { BackupResponse, toBackupResponse } from '../model/backup.response.js';
import { ListBackupsQuery } from './list-backups.dto.js';

@ApiTags('backups')
@Controller('backups')
export class ListBackupsController {
  constructor(private readonly dataSource: DataSource) {}

  @Get()
  @ApiOperation({ summary: 'Backups, newest request first' })
  @ApiPage('backups', BackupResponse, 'A page of backups')
  list(@Query() query: ListBackupsQuery): Promise<Page<'backups', BackupResponse>> {
    return readPage(this.dataSource, query, {
      name: 'backups',
      readModel: BackupReadModel,
      order: ['created_position'],
      direction: 'DESC',
      filters: {
        vm_name: query.vm_name,
        vm_id: query.vm_id?.toLowerCase(),
        repository_id: query.repository_id?.toLowerCase(),
        backup_type: query.backup_type,
        status: query.status,
        created_at: requestedBetween(query),
      },
      itemOf: toBackupResponse,
    });
  }
}

function requestedBetween({ since, until }: ListBackupsQuery): FindOperator<Date> | undefined {
  const limits = [...(since === undefined ? [] : [MoreThanOrEqual(new Date(since))]), ...(until === undefined ? [] : [LessThan(new Date(until))])];
  return limits.length === 0 ? undefined : And(...limits);
}
