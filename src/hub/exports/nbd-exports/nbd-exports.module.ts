import { Module } from '@nestjs/common';
import { ListProcessesController } from './list-processes/list-processes.controller.js';
import { ListProcessesHandler } from './list-processes/list-processes.handler.js';
import { ExportRunner } from './run-export/export-runner.service.js';
import { ExamineExportHandler, RequestExportHandler, StopExportHandler } from './run-export/run-export.handler.js';
import { WatchExportsService } from './run-export/watch-exports.service.js';

@Module({
  controllers: [ListProcessesController],
  providers: [ExportRunner, RequestExportHandler, StopExportHandler, ExamineExportHandler, WatchExportsService, ListProcessesHandler],
  exports: [WatchExportsService],
})
export class NbdExportsModule {}
