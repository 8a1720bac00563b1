import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { type ExportOutcome, StopExport } from '../model/nbd-export.commands.js';
import { ExportRunner } from './export-runner.service.js';

@CommandHandler(StopExport)
export class StopExportHandler implements ICommandHandler<StopExport> {
  constructor(private readonly exports: ExportRunner) {}

  execute({ exportId, context }: StopExport): Promise<ExportOutcome> {
    return this.exports.stop(exportId, context);
  }
}
