import { Controller, Get, Query, Res, type StreamableFile } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { ApiReport } from '../model/api-report.decorator.js';
import { judgedAt } from '../model/period.plan.js';
import type { ReportResponse } from '../model/report.dto.js';
import { Reports } from '../model/reports.service.js';
import { ProtectionReportQuery } from './protection-report.dto.js';
import { PROTECTION_REPORT, protectionReport } from './protection-report.plan.js';
import { ProtectionReportReader } from './protection-report.reader.js';

@ApiTags('reports')
@Controller('reports')
export class ProtectionReportController {
  constructor(
    private readonly reports: Reports,
    private readonly reader: ProtectionReportReader,
  ) {}

  @Get('protection')
  @ApiOperation({
    summary: 'How each VM is protected: its policies, its last good restore point, and whether the RPO is kept',
    description: 'Table: `vms`. VMs without a policy and VMs that were never backed up are in it too.',
  })
  @ApiReport('vm,status,policies\r\npgtest1,kept,nightly\r\n')
  protection(@Query() query: ProtectionReportQuery, @Res({ passthrough: true }) response: Response): Promise<ReportResponse | StreamableFile> {
    const source = {
      definition: PROTECTION_REPORT,
      parameters: judgedAt.bind(null, query.at),
      read: async ({ at }: { readonly at: string }) => protectionReport(await this.reader.read(at)),
    };
    return this.reports.answer(source, query, response);
  }
}
