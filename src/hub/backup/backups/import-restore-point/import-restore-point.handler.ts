import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import type { Decider } from '../../../../kernel/decider.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import type { Position } from '../../../../kernel/position.js';
import { ImportRestorePoint } from '../model/backup.commands.js';
import { type BackupEvent, backupStream, type RestorePointImported } from '../model/backup.events.js';
import { type BackupState, evolveBackup, initialBackupState } from '../model/backup.state.js';
import { decideImportRestorePoint } from './import-restore-point.decide.js';

const decider: Decider<BackupState, RestorePointImported['data'], BackupEvent> = {
  initialState: initialBackupState,
  evolve: evolveBackup,
  decide: decideImportRestorePoint,
};

@CommandHandler(ImportRestorePoint)
export class ImportRestorePointHandler implements ICommandHandler<ImportRestorePoint> {
  constructor(private readonly runner: CommandRunner) {}

  async execute({ data, context }: ImportRestorePoint): Promise<{ readonly imported: boolean; readonly position: Position | null }> {
    const { events, position } = await this.runner.run(backupStream(data.backup_id), decider, data, context);
    return { imported: events.length > 0, position };
  }
}
