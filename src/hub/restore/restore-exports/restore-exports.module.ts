import { Module } from '@nestjs/common';
import { RepositoryFilesModule } from '../../repositories/repository-storage/repository-files.module.js';
import { EndRestoreExportController } from './end-export/end-export.controller.js';
import { EndRestoreExportHandler } from './end-export/end-export.handler.js';
import { GetExportKeyController } from './get-export-key/get-export-key.controller.js';
import { ListRestoreExportsController } from './list-exports/list-exports.controller.js';
import { RestoreExportRecorder } from './model/restore-export.recorder.js';
import { RunRestoreExportReactor } from './run-export/run-restore-export.reactor.js';
import { StartRestoreExportController } from './start-export/start-export.controller.js';
import { StartRestoreExportHandler } from './start-export/start-export.handler.js';

@Module({
  imports: [RepositoryFilesModule],
  controllers: [StartRestoreExportController, ListRestoreExportsController, GetExportKeyController, EndRestoreExportController],
  providers: [StartRestoreExportHandler, EndRestoreExportHandler, RunRestoreExportReactor, RestoreExportRecorder],
})
export class RestoreExportsModule {}
