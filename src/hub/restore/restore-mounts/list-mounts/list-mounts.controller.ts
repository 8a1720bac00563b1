import { Controller, Get, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { ACTIVE_MOUNTS, RestoreMountReadModel } from '../../../../../projections/restore-mounts/restore-mounts.read-model.js';
import type { JsonObject } from '../../../../kernel/json.js';
import { ApiPage, decodeCursor, type Page, pageOf } from '../../../operations/http/cursor-page.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { RestoreMountResponse, toRestoreMountResponse } from '../model/restore-mount.response.js';
import { ListMountsQuery } from './list-mounts.dto.js';

type MountsKey = { readonly created_position: string };

@ApiTags('file-level restore')
@Controller('restore/mounts')
export class ListMountsController {
  constructor(private readonly dataSource: DataSource) {}

  @Get()
  @ApiOperation({ summary: 'List mounts, newest first', description: 'Without `status`, lists active mounts: mounting, mounted and unmounting.' })
  @ApiPage('mounts', RestoreMountResponse, 'A page of mounts')
  @ApiProblem(400, 'validation_failed', 'cursor_invalid')
  async list(@Query() query: ListMountsQuery): Promise<Page<'mounts', RestoreMountResponse>> {
    const before = decodeCursor(query.cursor, isMountsKey);
    const select = this.dataSource
      .getRepository(RestoreMountReadModel)
      .createQueryBuilder('m')
      .orderBy('m.created_position', 'DESC')
      .take(query.limit + 1);
    const status = query.status ?? 'active';
    if (status === 'active') select.andWhere('m.status in (:...active)', { active: ACTIVE_MOUNTS });
    else if (status !== 'all') select.andWhere('m.status = :status', { status });
    if (query.backup_id !== undefined) select.andWhere('m.backup_id = :backup_id', { backup_id: query.backup_id.toLowerCase() });
    if (before !== null) select.andWhere('m.created_position < :before', { before: before.created_position });
    return pageOf('mounts', await select.getMany(), query.limit, ({ created_position }) => ({ created_position }), toRestoreMountResponse);
  }
}

function isMountsKey(key: JsonObject): key is MountsKey {
  return typeof key['created_position'] === 'string';
}
