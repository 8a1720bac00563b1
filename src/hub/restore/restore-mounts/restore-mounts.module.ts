import { Module } from '@nestjs/common';
import { MountsModule } from '../mounts/mounts.module.js';
import { RepositoryFilesModule } from '../../repositories/repository-storage/repository-files.module.js';
import { CleanUpMountsService } from './clean-up-mounts/clean-up-mounts.service.js';
import { CleanupStatusController } from './clean-up-mounts/cleanup-status.controller.js';
import { DownloadDirectoryController } from './download-directory/download-directory.controller.js';
import { DownloadFileController } from './download-file/download-file.controller.js';
import { GetFileInfoController } from './get-file-info/get-file-info.controller.js';
import { GetResourcesController } from './get-resources/get-resources.controller.js';
import { ListFilesController } from './list-files/list-files.controller.js';
import { ListMountsController } from './list-mounts/list-mounts.controller.js';
import { RequestMountController } from './request-mount/request-mount.controller.js';
import { RequestMountHandler } from './request-mount/request-mount.handler.js';
import { AccessMountHandler } from './run-mount/access-mount.handler.js';
import { AdoptMountsReactor } from './run-mount/adopt-mounts.reactor.js';
import { BringUpMountHandler } from './run-mount/bring-up-mount.handler.js';
import { MountRunner } from './run-mount/run-mount.runner.js';
import { ReleaseMountHandler } from './run-mount/release-mount.handler.js';
import { ReportAbandonedCallHandler } from './run-mount/report-abandoned-call.handler.js';
import { SweepMountsHandler } from './run-mount/sweep-mounts.handler.js';
import { UnmountController } from './unmount/unmount.controller.js';

@Module({
  imports: [MountsModule, RepositoryFilesModule],
  controllers: [
    RequestMountController,
    ListMountsController,
    GetResourcesController,
    CleanupStatusController,
    ListFilesController,
    GetFileInfoController,
    DownloadFileController,
    DownloadDirectoryController,
    UnmountController,
  ],
  providers: [
    RequestMountHandler,
    BringUpMountHandler,
    ReleaseMountHandler,
    AccessMountHandler,
    ReportAbandonedCallHandler,
    SweepMountsHandler,
    MountRunner,
    AdoptMountsReactor,
    CleanUpMountsService,
  ],
})
export class RestoreMountsModule {}
