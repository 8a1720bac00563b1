import { Controller, Get, Query, Res, type StreamableFile } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { ApiReport } from '../model/api-report.decorator.js';
import { type Period, periodOf } from '../model/period.plan.js';
import type { ReportResponse } from '../model/report.dto.js';
import { Reports } from '../model/reports.service.js';
import { ChangesReportQuery } from './changes-report.dto.js';
import { CHANGES_REPORT, changesReport } from './changes-report.plan.js';
import { ChangesReportReader } from './changes-report.reader.js';

@ApiTags('reports')
@Controller('reports')
export class ChangesReportController {
  constructor(
    private readonly reports: Reports,
    private readonly reader: ChangesReportReader,
  ) {}

  @Get('changes')
  @ApiOperation({
    summary: 'Who changed policies, deleted, pinned or held something, and who restored or downloaded data, in a period',
    description: 'Tables: `policies`, with each setting that an edit changed; `deletions`, with the reason; `protections`; `accesses`.',
  })
  @ApiReport('at,by,policy,change\r\n2026-11-21T10:30:00.000Z,api:api,nightly,edited\r\n')
  changes(@Query() query: ChangesReportQuery, @Res({ passthrough: true }) response: Response): Promise<ReportResponse | StreamableFile> {
    const source = {
      definition: CHANGES_REPORT,
      parameters: periodOf.bind(null, query),
      read: async (period: Period) => changesReport(await this.reader.read(period)),
    };
    return this.reports.answer(source, query, response);
  }
}
