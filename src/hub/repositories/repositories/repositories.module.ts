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
import { GetRepositoryController } from './get-repository/get-repository.controller.js';
import { ImportRepositoryController } from './import-repository/import-repository.controller.js';
import { ImportRepositoryHandler } from './import-repository/import-repository.handler.js';
import { ListRepositoriesController } from './list-repositories/list-repositories.controller.js';

@Module({
  imports: [RegisterLockModule, RepositoryFilesModule],
  controllers: [
    ListRepositoriesController,
    GetRepositoryController,
    CreateRepositoryController,
    ImportRepositoryController,
    TestRepositoryController,
    DeleteRepositoryController,
    MeasureStorageController,
  ],
  providers: [CreateRepositoryHandler, ImportRepositoryHandler, DeleteRepositoryHandler, RepositoriesHealth],
})
export class RepositoriesModule {}
