import { Controller, Get, Query, Res, type StreamableFile } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { ApiReport } from '../model/api-report.decorator.js';
import { type Period, periodOf } from '../model/period.plan.js';
import type { ReportResponse } from '../model/report.dto.js';
import { Reports } from '../model/reports.service.js';
import { RunsReportQuery } from './runs-report.dto.js';
import { RUNS_REPORT, runsReport } from './runs-report.plan.js';
import { RunsReportReader } from './runs-report.reader.js';

@ApiTags('reports')
@Controller('reports')
export class RunsReportController {
  constructor(
    private readonly reports: Reports,
    private readonly reader: RunsReportReader,
  ) {}

  @Get('runs')
  @ApiOperation({
    summary: 'The runs of policies that were due in a period, with their outcomes, and the backups that failed in it',
    description: 'Tables: `runs`, also those that were skipped or missed, and why; `failures`, each failed attempt with its cause.',
  })
  @ApiReport('due_at,policy,outcome\r\n2026-11-21T21:00:00.000Z,nightly,started\r\n')
  runs(@Query() query: RunsReportQuery, @Res({ passthrough: true }) response: Response): Promise<ReportResponse | StreamableFile> {
    const source = {
      definition: RUNS_REPORT,
      parameters: periodOf.bind(null, query),
      read: async (period: Period) => runsReport(await this.reader.read(period), period),
    };
    return this.reports.answer(source, query, response);
  }
}
