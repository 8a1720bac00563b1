import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { ApiPage, type Page, PageQuery, readPage } from '../../../operations/http/cursor-page.js';
import { UuidParam } from '../../../operations/http/uuid-param.pipe.js';
import { CopyProgress } from '../model/copy-progress.registry.js';
import { CopyResponse, toCopyResponse } from '../model/copy.response.js';
import { ListCopiesQuery } from './list-copies.dto.js';

@ApiTags('copies')
@Controller()
export class ListCopiesController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly progress: CopyProgress,
  ) {}

  @Get('copies')
  @ApiOperation({ summary: 'Copies, newest request first' })
  @ApiPage('copies', CopyResponse, 'A page of copies')
  list(@Query() query: ListCopiesQuery): Promise<Page<'copies', CopyResponse>> {
    return this.page(query, { vm_id: query.vm_id?.toLowerCase(), repository_id: query.repository_id?.toLowerCase(), status: query.status });
  }

  @Get('backups/:backup_id/copies')
  @ApiOperation({ summary: 'Copies of a restore point, newest request first' })
  @ApiPage('copies', CopyResponse, 'A page of copies')
  @ApiProblem(404, 'backup_not_found')
  async ofBackup(@Param('backup_id', UuidParam) backupId: string, @Query() query: PageQuery): Promise<Page<'copies', CopyResponse>> {
    const page = await this.page(query, { backup_id: backupId });
    if (page.copies.length === 0 && !(await this.dataSource.getRepository(BackupReadModel).existsBy({ backup_id: backupId }))) {
      throw new DomainError('not_found', 'backup_not_found', `There is no backup ${backupId}.`, { backup_id: backupId });
    }
    return page;
  }

  private page(
    query: PageQuery,
    filters: {
      readonly backup_id?: string;
      readonly vm_id?: string | undefined;
      readonly repository_id?: string | undefined;
      readonly status?: string | undefined;
    },
  ): Promise<Page<'copies', CopyResponse>> {
    return readPage(this.dataSource, query, {
      name: 'copies',
      readModel: CopyReadModel,
      order: ['created_position'],
      direction: 'DESC',
      filters,
      itemOf: (copy) => toCopyResponse(copy, this.progress.of(copy.copy_id)),
    });
  }
}
