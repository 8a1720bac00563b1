import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { ExamineExport, type ExportOutcome, RequestExport, StopExport } from '../model/nbd-export.commands.js';
import { ExportRunner } from './export-runner.service.js';

@CommandHandler(RequestExport)
export class RequestExportHandler implements ICommandHandler<RequestExport> {
  constructor(private readonly exports: ExportRunner) {}

  execute({ request, context }: RequestExport): Promise<ExportOutcome> {
    return this.exports.request(request, context);
  }
}

@CommandHandler(StopExport)
export class StopExportHandler implements ICommandHandler<StopExport> {
  constructor(private readonly exports: ExportRunner) {}

  execute({ exportId, context }: StopExport): Promise<ExportOutcome> {
    return this.exports.stop(exportId, context);
  }
}

@CommandHandler(ExamineExport)
export class ExamineExportHandler implements ICommandHandler<ExamineExport> {
  constructor(private readonly exports: ExportRunner) {}

  execute({ exportId }: ExamineExport): Promise<ExportOutcome> {
    return this.exports.examine(exportId);
  }
}
