import { Controller, Get, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource, type FindOperator, In } from 'typeorm';
import { RestoreMountReadModel } from '../../../../../projections/restore-mounts/restore-mounts.read-model.js';
import { ACTIVE_MOUNTS } from '../model/active-mounts.reader.js';
import { ApiPage, type Page, readPage } from '../../../operations/http/cursor-page.js';
import { RestoreMountResponse, toRestoreMountResponse } from '../model/restore-mount.response.js';
import { ListMountsQuery } from './list-mounts.dto.js';

@ApiTags('file-level restore')
@Controller('restore/mounts')
export class ListMountsController {
  constructor(private readonly dataSource: DataSource) {}

  @Get()
  @ApiOperation({ summary: 'List mounts, newest first', description: 'Without `status`, lists active mounts: mounting, mounted and unmounting.' })
  @ApiPage('mounts', RestoreMountResponse, 'A page of mounts')
  list(@Query() query: ListMountsQuery): Promise<Page<'mounts', RestoreMountResponse>> {
    return readPage(this.dataSource, query, {
      name: 'mounts',
      readModel: RestoreMountReadModel,
      order: ['created_position'],
      direction: 'DESC',
      filters: { backup_id: query.backup_id?.toLowerCase(), status: statusFilter(query.status) },
      itemOf: toRestoreMountResponse,
    });
  }
}

function statusFilter(status: ListMountsQuery['status'] = 'active'): string | FindOperator<string> | undefined {
  if (status === 'active') return In([...ACTIVE_MOUNTS]);
  return status === 'all' ? undefined : status;
}
