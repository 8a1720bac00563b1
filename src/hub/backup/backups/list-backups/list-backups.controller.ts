import { Controller, Get, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import type { JsonObject } from '../../../../kernel/json.js';
import { ApiPage, decodeCursor, type Page, pageOf } from '../../../operations/http/cursor-page.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { BackupResponse, toBackupResponse } from '../model/backup.response.js';
import { ListBackupsQuery } from './list-backups.dto.js';

type BackupsKey = { readonly created_position: string };

@ApiTags('backups')
@Controller('backups')
export class ListBackupsController {
  constructor(private readonly dataSource: DataSource) {}

  @Get()
  @ApiOperation({ summary: 'Backups, newest request first' })
  @ApiPage('backups', BackupResponse, 'A page of backups')
  @ApiProblem(400, 'validation_failed', 'cursor_invalid')
  async list(@Query() query: ListBackupsQuery): Promise<Page<'backups', BackupResponse>> {
    const before = decodeCursor(query.cursor, isBackupsKey);
    const select = this.dataSource
      .getRepository(BackupReadModel)
      .createQueryBuilder('b')
      .orderBy('b.created_position', 'DESC')
      .take(query.limit + 1);
    if (query.vm_name !== undefined) select.andWhere('b.vm_name = :vm_name', { vm_name: query.vm_name });
    if (query.vm_id !== undefined) select.andWhere('b.vm_id = :vm_id', { vm_id: query.vm_id.toLowerCase() });
    if (query.repository_id !== undefined) select.andWhere('b.repository_id = :repository_id', { repository_id: query.repository_id.toLowerCase() });
    if (query.backup_type !== undefined) select.andWhere('b.backup_type = :backup_type', { backup_type: query.backup_type });
    if (query.status !== undefined) select.andWhere('b.status = :status', { status: query.status });
    if (query.since !== undefined) select.andWhere('b.created_at >= :since', { since: new Date(query.since) });
    if (query.until !== undefined) select.andWhere('b.created_at < :until', { until: new Date(query.until) });
    if (before !== null) select.andWhere('b.created_position < :before', { before: before.created_position });
    return pageOf('backups', await select.getMany(), query.limit, ({ created_position }) => ({ created_position }), toBackupResponse);
  }
}

function isBackupsKey(key: JsonObject): key is BackupsKey {
  return typeof key['created_position'] === 'string';
}
