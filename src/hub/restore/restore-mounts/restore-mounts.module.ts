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
import { AdoptMountsService } from './clean-up-mounts/adopt-mounts.service.js';
import { MountRunner } from './model/mount.runner.js';
import { MountUses } from './model/use-mount.access.js';
import { ReleaseMountHandler } from './unmount/release-mount.handler.js';
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
  providers: [RequestMountHandler, ReleaseMountHandler, MountRunner, MountUses, AdoptMountsService, CleanUpMountsService],
})
export class RestoreMountsModule {}
