import { Controller, Get, Query, Res, type StreamableFile } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { ServiceLevelReader } from '../../../backup/policies/model/service-level.reader.js';
import { ApiReport } from '../model/api-report.decorator.js';
import { type Period, periodOf } from '../model/period.plan.js';
import { PeriodReportQuery, type ReportResponse } from '../model/report.dto.js';
import { Reports } from '../model/reports.service.js';
import { SLA_REPORT, slaReport } from './sla-report.plan.js';

@ApiTags('reports')
@Controller('reports')
export class SlaReportController {
  constructor(
    private readonly reports: Reports,
    private readonly reader: ServiceLevelReader,
  ) {}

  @Get('sla')
  @ApiOperation({
    summary: 'What was promised for each VM in a period, and what was kept, by the policies in force at each moment',
    description: 'Table: `vms`, also those that were removed in the period.',
  })
  @ApiReport('vm,policies,rpo_seconds\r\npgtest1,nightly (version 1),86400\r\n')
  sla(@Query() query: PeriodReportQuery, @Res({ passthrough: true }) response: Response): Promise<ReportResponse | StreamableFile> {
    const source = {
      definition: SLA_REPORT,
      parameters: periodOf.bind(null, query),
      read: async (period: Period) => slaReport(await this.reader.read(period)),
    };
    return this.reports.answer(source, query, response);
  }
}
