import { Module } from '@nestjs/common';
import { RegisterLockModule } from '../../store/register-lock/register-lock.module.js';
import { RepositoryFilesModule } from '../repository-storage/repository-files.module.js';
import { CreateRepositoryController } from './create-repository/create-repository.controller.js';
import { CreateRepositoryHandler } from './create-repository/create-repository.handler.js';
import { DeleteRepositoryController } from './delete-repository/delete-repository.controller.js';
import { DeleteRepositoryHandler } from './delete-repository/delete-repository.handler.js';
import { MeasureStorageController } from './measure-storage/measure-storage.controller.js';
import { RepositoriesHealth } from './measure-storage/repositories.health-checks.js';
import { TestRepositoryController } from './test-repository/test-repository.controller.js';
import { MoveRepositoryController } from './move-repository/move-repository.controller.js';
import { MoveRepositoryHandler } from './move-repository/move-repository.handler.js';
import { GetCapacityController } from './get-capacity/get-capacity.controller.js';
import { CapacityHealth } from './measure-capacity/capacity.health-checks.js';
import { MeasureCapacityService } from './measure-capacity/measure-capacity.service.js';
import { CapacityReader } from './model/capacity.reader.js';
import { ShareMounts } from './model/share-mounts.service.js';
import { RequiredMountsReader } from './model/required-mounts.reader.js';
import { CapacityRecorder } from './model/capacity.recorder.js';
import { SetPlaceController } from './set-place/set-place.controller.js';
import { SetPlaceHandler } from './set-place/set-place.handler.js';
import { LockSummaries } from './model/lock-summaries.registry.js';
import { RepositoryLocksModule } from './repository-locks.module.js';
import { SetImmutabilityController } from './set-immutability/set-immutability.controller.js';
import { SetImmutabilityHandler } from './set-immutability/set-immutability.handler.js';
import { SetThresholdsController } from './set-thresholds/set-thresholds.controller.js';
import { SetThresholdsHandler } from './set-thresholds/set-thresholds.handler.js';
import { GetRepositoryController } from './get-repository/get-repository.controller.js';
import { ImportRepositoryController } from './import-repository/import-repository.controller.js';
import { ImportRepositoryHandler } from './import-repository/import-repository.handler.js';
import { ListRepositoriesController } from './list-repositories/list-repositories.controller.js';
import { LocksHealth } from './watch-locks/locks.health-checks.js';
import { WatchLocksService } from './watch-locks/watch-locks.service.js';

@Module({
  imports: [RegisterLockModule, RepositoryFilesModule, RepositoryLocksModule],
  controllers: [
    ListRepositoriesController,
    GetRepositoryController,
    CreateRepositoryController,
    ImportRepositoryController,
    MoveRepositoryController,
    TestRepositoryController,
    DeleteRepositoryController,
    MeasureStorageController,
    GetCapacityController,
    SetThresholdsController,
    SetPlaceController,
    SetImmutabilityController,
  ],
  providers: [
    CreateRepositoryHandler,
    ImportRepositoryHandler,
    MoveRepositoryHandler,
    DeleteRepositoryHandler,
    RequiredMountsReader,
    ShareMounts,
    RepositoriesHealth,
    CapacityReader,
    CapacityRecorder,
    MeasureCapacityService,
    SetThresholdsHandler,
    SetPlaceHandler,
    SetImmutabilityHandler,
    CapacityHealth,
    LockSummaries,
    WatchLocksService,
    LocksHealth,
  ],
})
export class RepositoriesModule {}
