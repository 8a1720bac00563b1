import { Controller, Get, Query, Res, type StreamableFile } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { ApiReport } from '../model/api-report.decorator.js';
import { type BrokenRule, isBroken, judgedAt, type ReportTimes } from '../model/period.plan.js';
import type { ReportResponse } from '../model/report.dto.js';
import { Reports } from '../model/reports.service.js';
import { ThreeTwoOneReportQuery } from './three-two-one-report.dto.js';
import { THREE_TWO_ONE_REPORT, type ThreeTwoOneParameters, threeTwoOneReport } from './three-two-one-report.plan.js';
import { ThreeTwoOneReportReader } from './three-two-one-report.reader.js';

@ApiTags('reports')
@Controller('reports')
export class ThreeTwoOneReportController {
  constructor(
    private readonly reports: Reports,
    private readonly reader: ThreeTwoOneReportReader,
  ) {}

  @Get('three-two-one')
  @ApiOperation({
    summary: 'Whether three copies of each VM exist, on two kinds of storage, one of them off-site',
    description:
      'Table: `vms`. The VM itself is the first copy. Judged by undamaged restore points of the last `within_hours`, and by what was stated with PUT /repositories/{id}/place.',
  })
  @ApiReport('vm,verdict,three,two,one\r\npgtest1,kept,yes,yes,yes\r\n')
  threeTwoOne(@Query() query: ThreeTwoOneReportQuery, @Res({ passthrough: true }) response: Response): Promise<ReportResponse | StreamableFile> {
    const source = {
      definition: THREE_TWO_ONE_REPORT,
      parameters: (times: ReportTimes): ThreeTwoOneParameters | BrokenRule => {
        const judged = judgedAt(query.at, times);
        return isBroken(judged) ? judged : { ...judged, within_hours: String(query.within_hours) };
      },
      read: async (parameters: ThreeTwoOneParameters) => threeTwoOneReport(await this.reader.read(parameters), parameters),
    };
    return this.reports.answer(source, query, response);
  }
}
