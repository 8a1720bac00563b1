import { join } from 'node:path';
import { Module } from '@nestjs/common';
import { HubConfig } from '../../hub.config.js';
import { RequiredMounts } from './required-mounts.js';
import { StorageWorkers } from './storage-workers.js';
import { FileHasher } from '../../../storage/hashing/file-hasher.js';
import { ChainGuard } from './chain-guard.js';
import { ProvenFiles } from '../../../storage/repository-files/proven-files.js';
import { RepositoryFiles } from '../../../storage/repository-files/repository-files.js';

@Module({
  providers: [
    StorageWorkers,
    RequiredMounts,
    {
      provide: RepositoryFiles,
      useFactory: (workers: StorageWorkers, mounts: RequiredMounts) =>
        new RepositoryFiles(
          (path) => workers.at(path),
          (path) => mounts.at(path),
        ),
      inject: [StorageWorkers, RequiredMounts],
    },
    { provide: ProvenFiles, useFactory: (config: HubConfig) => new ProvenFiles(join(config.dataDirectory, 'proven-files')), inject: [HubConfig] },
    {
      provide: ChainGuard,
      useFactory: (files: RepositoryFiles, hasher: FileHasher, proven: ProvenFiles) => new ChainGuard(files, hasher, proven),
      inject: [RepositoryFiles, FileHasher, ProvenFiles],
    },
  ],
  exports: [RequiredMounts, RepositoryFiles, StorageWorkers, ChainGuard, ProvenFiles],
})
export class RepositoryFilesModule {}
