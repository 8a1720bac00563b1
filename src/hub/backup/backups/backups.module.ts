import { Module } from '@nestjs/common';
import { LiveProgress } from './model/live-progress.registry.js';
import { LedgerModule } from '../../history/ledger/ledger.module.js';
import { NodeClientModule } from '../../nodes/node-link/node-client.module.js';
import { RepositoryFilesModule } from '../../repositories/repository-storage/repository-files.module.js';
import { BackupQueriesModule } from './backup-queries.module.js';
import { CancelBackupController } from './cancel-backup/cancel-backup.controller.js';
import { CancelBackupHandler } from './cancel-backup/cancel-backup.handler.js';
import { DeleteBackupController } from './delete-backup/delete-backup.controller.js';
import { DeleteBackupHandler } from './delete-backup/delete-backup.handler.js';
import { FollowBackupEventsController } from './follow-backup-events/follow-backup-events.controller.js';
import { CleanUpNodesReactor } from './clean-up-nodes/clean-up-nodes.reactor.js';
import { ImportRestorePointHandler } from './import-restore-point/import-restore-point.handler.js';
import { BackupCorrelations } from './model/backup-correlation.reader.js';
import { BackupFactsReader } from './model/backup-facts.reader.js';
import { ChangeIdsInUse } from './model/change-ids-in-use.reader.js';
import { ProtectRestorePointController } from './protect-restore-point/protect-restore-point.controller.js';
import { ProtectRestorePointHandler } from './protect-restore-point/protect-restore-point.handler.js';
import { RecordRetentionHandler } from './record-retention/record-retention.handler.js';
import { RecordTransferReportController } from './record-transfer-report/record-transfer-report.controller.js';
import { RecordTransferReportHandler } from './record-transfer-report/record-transfer-report.handler.js';
import { BackupQueue } from './run-backup/backup-queue.service.js';
import { ExportFacts } from './run-backup/export-facts.reader.js';
import { LocateRun } from './run-backup/locate-run.step.js';
import { NarrateBackupsReactor } from './run-backup/narrate-backups.reactor.js';
import { PrepareRun } from './run-backup/prepare-run.step.js';
import { RunRecorder } from './run-backup/record-run.recorder.js';
import { RunBackupReactor } from './run-backup/run-backup.reactor.js';
import { SealRun } from './run-backup/seal-run.step.js';
import { TransferRun } from './run-backup/transfer-run.step.js';
import { UndoRun } from './run-backup/undo-run.step.js';
import { StartBackupController } from './start-backup/start-backup.controller.js';
import { StartBackupHandler } from './start-backup/start-backup.handler.js';

@Module({
  imports: [BackupQueriesModule, LedgerModule, NodeClientModule, RepositoryFilesModule],
  controllers: [
    StartBackupController,
    CancelBackupController,
    DeleteBackupController,
    ProtectRestorePointController,
    FollowBackupEventsController,
    RecordTransferReportController,
  ],
  providers: [
    StartBackupHandler,
    CancelBackupHandler,
    DeleteBackupHandler,
    ProtectRestorePointHandler,
    RecordRetentionHandler,
    RecordTransferReportHandler,
    ImportRestorePointHandler,
    BackupFactsReader,
    ChangeIdsInUse,
    LocateRun,
    CleanUpNodesReactor,
    RunBackupReactor,
    NarrateBackupsReactor,
    BackupQueue,
    ExportFacts,
    RunRecorder,
    BackupCorrelations,
    PrepareRun,
    TransferRun,
    SealRun,
    UndoRun,
    LiveProgress,
  ],
})
export class BackupsModule {}
