import { join } from 'node:path';
import { Module } from '@nestjs/common';
import { HubConfig } from '../../hub.config.js';
import { StorageWorkers } from './storage-workers.js';
import { FileHasher } from '../../../storage/hashing/file-hasher.js';
import { ChainGuard } from './chain-guard.js';
import { ProvenFiles } from '../../../storage/repository-files/proven-files.js';
import { RepositoryFiles } from '../../../storage/repository-files/repository-files.js';

@Module({
  providers: [
    StorageWorkers,
    { provide: RepositoryFiles, useFactory: (workers: StorageWorkers) => new RepositoryFiles((path) => workers.at(path)), inject: [StorageWorkers] },
    { provide: ProvenFiles, useFactory: (config: HubConfig) => new ProvenFiles(join(config.dataDirectory, 'proven-files')), inject: [HubConfig] },
    {
      provide: ChainGuard,
      useFactory: (files: RepositoryFiles, hasher: FileHasher, proven: ProvenFiles) => new ChainGuard(files, hasher, proven),
      inject: [RepositoryFiles, FileHasher, ProvenFiles],
    },
  ],
  exports: [RepositoryFiles, StorageWorkers, ChainGuard, ProvenFiles],
})
export class RepositoryFilesModule {}
