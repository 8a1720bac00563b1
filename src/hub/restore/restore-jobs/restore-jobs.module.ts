import { Module } from '@nestjs/common';
import { NodeClientModule } from '../../nodes/node-link/node-client.module.js';
import { RepositoryFilesModule } from '../../repositories/repository-storage/repository-files.module.js';
import { CancelRestoreController } from './cancel-restore/cancel-restore.controller.js';
import { CancelRestoreHandler } from './cancel-restore/cancel-restore.handler.js';
import { DownloadDiskController } from './download-disk/download-disk.controller.js';
import { FollowRestoreEventsController } from './follow-restore-events/follow-restore-events.controller.js';
import { GetRestoreController } from './get-restore/get-restore.controller.js';
import { ListRestoresController } from './list-restores/list-restores.controller.js';
import { RestoreProgress } from './model/restore-progress.registry.js';
import { SourceCheck } from './model/source-check.service.js';
import { MakeDisks } from './run-restore/make-disks.step.js';
import { PublishFiles } from './run-restore/publish-files.step.js';
import { RestoreRecorder } from './run-restore/record-restore.recorder.js';
import { RunRestoreReactor } from './run-restore/run-restore.reactor.js';
import { SupervisedProgram } from './run-restore/supervised-program.runner.js';
import { VmRestoreRecorder } from './model/record-vm-restore.recorder.js';
import { RemoveInstantVmController } from './remove-instant-vm/remove-instant-vm.controller.js';
import { RemoveInstantVmHandler } from './remove-instant-vm/remove-instant-vm.handler.js';
import { FollowNode } from './run-vm-restore/follow-node.step.js';
import { PublishDisks } from './run-vm-restore/publish-disks.step.js';
import { RunVmRestoreReactor } from './run-vm-restore/run-vm-restore.reactor.js';
import { VerifySources } from './run-vm-restore/verify-sources.step.js';
import { PreviewVmRestore } from './start-vm-restore/preview-vm-restore.service.js';
import { StartVmRestoreController } from './start-vm-restore/start-vm-restore.controller.js';
import { StartVmRestoreHandler } from './start-vm-restore/start-vm-restore.handler.js';
import { StartRestoreController } from './start-restore/start-restore.controller.js';
import { StartRestoreHandler } from './start-restore/start-restore.handler.js';

@Module({
  imports: [RepositoryFilesModule, NodeClientModule],
  controllers: [
    StartRestoreController,
    ListRestoresController,
    GetRestoreController,
    FollowRestoreEventsController,
    CancelRestoreController,
    DownloadDiskController,
    StartVmRestoreController,
    RemoveInstantVmController,
  ],
  providers: [
    StartRestoreHandler,
    CancelRestoreHandler,
    RunRestoreReactor,
    RestoreRecorder,
    MakeDisks,
    PublishFiles,
    SupervisedProgram,
    RestoreProgress,
    StartVmRestoreHandler,
    PreviewVmRestore,
    RemoveInstantVmHandler,
    RunVmRestoreReactor,
    VmRestoreRecorder,
    PublishDisks,
    VerifySources,
    SourceCheck,
    FollowNode,
  ],
})
export class RestoreJobsModule {}
