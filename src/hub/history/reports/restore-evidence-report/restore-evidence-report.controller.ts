import { Controller, Get, Query, Res, type StreamableFile } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { ApiReport } from '../model/api-report.decorator.js';
import { type ReportResponse, ReportQuery } from '../model/report.dto.js';
import { Reports } from '../model/reports.service.js';
import { RESTORE_EVIDENCE_REPORT, restoreEvidenceReport } from './restore-evidence-report.plan.js';
import { RestoreEvidenceReportReader } from './restore-evidence-report.reader.js';

@ApiTags('reports')
@Controller('reports')
export class RestoreEvidenceReportController {
  constructor(
    private readonly reports: Reports,
    private readonly reader: RestoreEvidenceReportReader,
  ) {}

  @Get('restore-evidence')
  @ApiOperation({
    summary: 'What has shown of each VM that it can be restored: verifications, boot checks, downloaded files and full restores',
    description: 'Table: `vms`. VMs that were removed are in it as long as they have restore points.',
  })
  @ApiReport('vm,evidence,restore_points\r\npgtest1,restored,14\r\n')
  restoreEvidence(@Query() query: ReportQuery, @Res({ passthrough: true }) response: Response): Promise<ReportResponse | StreamableFile> {
    const source = {
      definition: RESTORE_EVIDENCE_REPORT,
      parameters: () => ({}),
      read: async () => restoreEvidenceReport(await this.reader.read()),
    };
    return this.reports.answer(source, query, response);
  }
}
