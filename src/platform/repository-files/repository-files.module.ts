import { Module } from '@nestjs/common';
import { RepositoryFiles } from './repository-files.js';

@Module({ providers: [RepositoryFiles], exports: [RepositoryFiles] })
export class RepositoryFilesModule {}
