import { Controller, Get, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { IsIn } from 'class-validator';
import { DataSource } from 'typeorm';
import { RestoreExportReadModel } from '../../../../../projections/restore-exports/restore-exports.read-model.js';
import type { JsonObject } from '../../../../kernel/json.js';
import { ApiPage, decodeCursor, type Page, pageOf, PageQuery } from '../../../operations/http/cursor-page.js';
import { ApiProblem } from '../../../../lib/http/problem-responses.decorator.js';
import { RestoreExportResponse, toRestoreExportResponse } from '../model/restore-export.response.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

const STATUSES = ['starting', 'running', 'failed', 'ended'];

type ExportsKey = { readonly created_position: string };

export class ListRestoreExportsQuery extends PageQuery {
  /** Only exports with this status */
  @Optional()
  @IsIn(STATUSES)
  status?: (typeof STATUSES)[number];
}

@ApiTags('restore')
@Controller('restore/exports')
export class ListRestoreExportsController {
  constructor(private readonly dataSource: DataSource) {}

  @Get()
  @ApiOperation({ summary: 'List exports of restore points, newest first, including ended ones' })
  @ApiPage('exports', RestoreExportResponse, 'A page of exports')
  @ApiProblem(400, 'validation_failed', 'cursor_invalid')
  async list(@Query() query: ListRestoreExportsQuery): Promise<Page<'exports', RestoreExportResponse>> {
    const before = decodeCursor(query.cursor, isExportsKey);
    const select = this.dataSource
      .getRepository(RestoreExportReadModel)
      .createQueryBuilder('e')
      .orderBy('e.created_position', 'DESC')
      .take(query.limit + 1);
    if (query.status !== undefined) select.andWhere('e.status = :status', { status: query.status });
    if (before !== null) select.andWhere('e.created_position < :before', { before: before.created_position });
    return pageOf('exports', await select.getMany(), query.limit, ({ created_position }) => ({ created_position }), toRestoreExportResponse);
  }
}

function isExportsKey(key: JsonObject): key is ExportsKey {
  return typeof key['created_position'] === 'string';
}
