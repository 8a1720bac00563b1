import { Controller, Get, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { IsIn } from 'class-validator';
import { DataSource } from 'typeorm';
import { RestoreExportReadModel } from '../../../../../projections/restore-exports/restore-exports.read-model.js';
import { ApiPage, type Page, PageQuery, readPage } from '../../../operations/http/cursor-page.js';
import { RestoreExportResponse, toRestoreExportResponse } from '../model/restore-export.response.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

const STATUSES = ['starting', 'running', 'failed', 'ended'] as const;

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
  list(@Query() query: ListRestoreExportsQuery): Promise<Page<'exports', RestoreExportResponse>> {
    return readPage(this.dataSource, query, {
      name: 'exports',
      readModel: RestoreExportReadModel,
      order: ['created_position'],
      direction: 'DESC',
      filters: { status: query.status },
      itemOf: toRestoreExportResponse,
    });
  }
}
