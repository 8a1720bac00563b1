import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import type { Position } from '../../../../kernel/position.js';
import { ImportRestorePoint } from '../model/backup.commands.js';
import { backupStream } from '../model/backup.events.js';
import { backupDecider } from '../model/backup.state.js';
import { decideImportRestorePoint } from './import-restore-point.decide.js';

const decider = backupDecider(decideImportRestorePoint);

@CommandHandler(ImportRestorePoint)
export class ImportRestorePointHandler implements ICommandHandler<ImportRestorePoint> {
  constructor(private readonly runner: CommandRunner) {}

  async execute({ data, context }: ImportRestorePoint): Promise<{ readonly imported: boolean; readonly position: Position | null }> {
    const { events, position } = await this.runner.run(backupStream(data.backup_id), decider, data, context);
    return { imported: events.length > 0, position };
  }
}
