import { Module } from '@nestjs/common';
import { PolicyQueriesModule } from '../../backup/policies/policy-queries.module.js';
import { Reports } from './model/reports.service.js';
import { ProtectionReportController } from './protection-report/protection-report.controller.js';
import { ProtectionReportReader } from './protection-report/protection-report.reader.js';
import { RunsReportController } from './runs-report/runs-report.controller.js';
import { RunsReportReader } from './runs-report/runs-report.reader.js';
import { SlaReportController } from './sla-report/sla-report.controller.js';

/** Reports that can be recomputed years later. */
@Module({
  imports: [PolicyQueriesModule],
  controllers: [ProtectionReportController, RunsReportController, SlaReportController],
  providers: [Reports, ProtectionReportReader, RunsReportReader],
})
export class ReportsModule {}
