import { Module } from '@nestjs/common';
import { FileDoors } from '../file-door/file-doors.js';
import { RepositoryFiles } from './repository-files.js';

@Module({
  providers: [FileDoors, { provide: RepositoryFiles, useFactory: (doors: FileDoors) => new RepositoryFiles((path) => doors.at(path)), inject: [FileDoors] }],
  exports: [RepositoryFiles, FileDoors],
})
export class RepositoryFilesModule {}
