import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { type ExportOutcome, RequestExport } from '../model/nbd-export.commands.js';
import { ExportRunner } from './export-runner.service.js';

@CommandHandler(RequestExport)
export class RequestExportHandler implements ICommandHandler<RequestExport> {
  constructor(private readonly exports: ExportRunner) {}

  execute({ request, context }: RequestExport): Promise<ExportOutcome> {
    return this.exports.request(request, context);
  }
}
