import { Module } from '@nestjs/common';
import { RepositoryFilesModule } from '../platform/repository-files/repository-files.module.js';
import { CancelRestoreController } from './cancel-restore/cancel-restore.controller.js';
import { CancelRestoreHandler } from './cancel-restore/cancel-restore.handler.js';
import { DownloadDiskController } from './download-disk/download-disk.controller.js';
import { FollowRestoreEventsController } from './follow-restore-events/follow-restore-events.controller.js';
import { GetRestoreController } from './get-restore/get-restore.controller.js';
import { ListRestoresController } from './list-restores/list-restores.controller.js';
import { RestoreProgress } from './model/restore-progress.registry.js';
import { MakeDisks } from './run-restore/make-disks.step.js';
import { PublishFiles } from './run-restore/publish-files.step.js';
import { RestoreRecorder } from './run-restore/record-restore.recorder.js';
import { RunRestoreReactor } from './run-restore/run-restore.reactor.js';
import { SupervisedProgram } from './run-restore/supervised-program.runner.js';
import { StartRestoreController } from './start-restore/start-restore.controller.js';
import { StartRestoreHandler } from './start-restore/start-restore.handler.js';

@Module({
  imports: [RepositoryFilesModule],
  controllers: [
    StartRestoreController,
    ListRestoresController,
    GetRestoreController,
    FollowRestoreEventsController,
    CancelRestoreController,
    DownloadDiskController,
  ],
  providers: [StartRestoreHandler, CancelRestoreHandler, RunRestoreReactor, RestoreRecorder, MakeDisks, PublishFiles, SupervisedProgram, RestoreProgress],
})
export class RestoreJobsModule {}
