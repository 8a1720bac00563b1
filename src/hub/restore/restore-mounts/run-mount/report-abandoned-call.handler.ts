import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { ReportAbandonedCall } from '../model/restore-mount.commands.js';
import { MountRunner } from './run-mount.runner.js';

@CommandHandler(ReportAbandonedCall)
export class ReportAbandonedCallHandler implements ICommandHandler<ReportAbandonedCall> {
  constructor(private readonly mounts: MountRunner) {}

  execute({ mountId, operation, detail, correlationId }: ReportAbandonedCall): Promise<void> {
    return this.mounts.reportAbandoned(mountId, operation, detail, correlationId);
  }
}
