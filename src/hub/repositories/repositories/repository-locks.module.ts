import { Global, Module } from '@nestjs/common';
import { RepositoryFilesModule } from '../repository-storage/repository-files.module.js';
import { LockReader } from './model/lock.reader.js';

/** Global, because several contexts show the locks of their files. */
@Global()
@Module({ imports: [RepositoryFilesModule], providers: [LockReader], exports: [LockReader] })
export class RepositoryLocksModule {}
