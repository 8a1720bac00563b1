import { Module } from '@nestjs/common';
import { GetRepositoryController } from './get-repository/get-repository.controller.js';
import { ListRepositoriesController } from './list-repositories/list-repositories.controller.js';

/** What is asked of repositories. */
@Module({ controllers: [ListRepositoriesController, GetRepositoryController] })
export class RepositoryQueriesModule {}
