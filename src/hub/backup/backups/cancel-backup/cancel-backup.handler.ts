import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import type { Position } from '../../../../kernel/position.js';
import { CancelBackup } from '../model/backup.commands.js';
import { backupStream } from '../model/backup.events.js';
import { backupDecider } from '../model/backup.state.js';
import { decideCancelBackup } from './cancel-backup.decide.js';

const decider = backupDecider(decideCancelBackup);

@CommandHandler(CancelBackup)
export class CancelBackupHandler implements ICommandHandler<CancelBackup> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
  ) {}

  /** @returns the position of the backup's newest event */
  async execute(command: CancelBackup): Promise<{ position: Position | null }> {
    const { position } = await this.runner.run(
      backupStream(command.backupId),
      decider,
      { kind: 'cancel-backup', backup_id: command.backupId, cancelled_at: this.clock.iso() },
      command.context,
    );
    return { position };
  }
}
