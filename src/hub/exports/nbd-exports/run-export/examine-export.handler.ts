import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { ExamineExport, type ExportOutcome } from '../model/nbd-export.commands.js';
import { ExportRunner } from './export-runner.service.js';

@CommandHandler(ExamineExport)
export class ExamineExportHandler implements ICommandHandler<ExamineExport> {
  constructor(private readonly exports: ExportRunner) {}

  execute({ exportId }: ExamineExport): Promise<ExportOutcome> {
    return this.exports.examine(exportId);
  }
}
