import { Module } from '@nestjs/common';
import { PolicyQueriesModule } from '../../backup/policies/policy-queries.module.js';
import { CapacityForecastReader } from '../../repositories/repositories/model/capacity-forecast.reader.js';
import { CapacityReportController } from './capacity-report/capacity-report.controller.js';
import { CapacityReportReader } from './capacity-report/capacity-report.reader.js';
import { ChangesReportController } from './changes-report/changes-report.controller.js';
import { ChangesReportReader } from './changes-report/changes-report.reader.js';
import { Reports } from './model/reports.service.js';
import { ProtectionReportController } from './protection-report/protection-report.controller.js';
import { ProtectionReportReader } from './protection-report/protection-report.reader.js';
import { RestoreEvidenceReportController } from './restore-evidence-report/restore-evidence-report.controller.js';
import { RestoreEvidenceReportReader } from './restore-evidence-report/restore-evidence-report.reader.js';
import { RunsReportController } from './runs-report/runs-report.controller.js';
import { RunsReportReader } from './runs-report/runs-report.reader.js';
import { SlaReportController } from './sla-report/sla-report.controller.js';
import { ThreeTwoOneReportController } from './three-two-one-report/three-two-one-report.controller.js';
import { ThreeTwoOneReportReader } from './three-two-one-report/three-two-one-report.reader.js';

/** Reports that can be recomputed years later. */
@Module({
  imports: [PolicyQueriesModule],
  controllers: [
    ProtectionReportController,
    RunsReportController,
    SlaReportController,
    RestoreEvidenceReportController,
    ChangesReportController,
    CapacityReportController,
    ThreeTwoOneReportController,
  ],
  providers: [
    Reports,
    ProtectionReportReader,
    RunsReportReader,
    RestoreEvidenceReportReader,
    ChangesReportReader,
    CapacityReportReader,
    CapacityForecastReader,
    ThreeTwoOneReportReader,
  ],
})
export class ReportsModule {}
