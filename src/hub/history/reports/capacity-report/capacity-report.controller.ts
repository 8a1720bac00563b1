import { Controller, Get, Query, Res, type StreamableFile } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { ApiReport } from '../model/api-report.decorator.js';
import { type Period, periodOf } from '../model/period.plan.js';
import type { ReportResponse } from '../model/report.dto.js';
import { Reports } from '../model/reports.service.js';
import { CapacityReportQuery } from './capacity-report.dto.js';
import { CAPACITY_REPORT, capacityReport } from './capacity-report.plan.js';
import { CapacityReportReader } from './capacity-report.reader.js';

@ApiTags('reports')
@Controller('reports')
export class CapacityReportController {
  constructor(
    private readonly reports: Reports,
    private readonly reader: CapacityReportReader,
  ) {}

  @Get('capacity')
  @ApiOperation({
    summary: 'What the restore points of each VM use in each repository, and how that changed in a period',
    description: 'Tables: `vms`, also those all of whose restore points were removed in the period; `repositories`.',
  })
  @ApiReport('vm,repository,restore_points,size_bytes\r\npgtest1,vault,14,73014444032\r\n')
  capacity(@Query() query: CapacityReportQuery, @Res({ passthrough: true }) response: Response): Promise<ReportResponse | StreamableFile> {
    const source = {
      definition: CAPACITY_REPORT,
      parameters: periodOf.bind(null, query),
      read: async (period: Period) => capacityReport(await this.reader.read(period), period),
    };
    return this.reports.answer(source, query, response);
  }
}
