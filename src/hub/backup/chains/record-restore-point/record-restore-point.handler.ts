import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { RecordRestorePoint } from '../model/chain.commands.js';
import { chainStream } from '../model/chain.events.js';
import { chainDecider } from '../model/chain.state.js';
import { decideRecordRestorePoint } from './record-restore-point.decide.js';

const decider = chainDecider(decideRecordRestorePoint);

@CommandHandler(RecordRestorePoint)
export class RecordRestorePointHandler implements ICommandHandler<RecordRestorePoint> {
  constructor(private readonly runner: CommandRunner) {}

  async execute(command: RecordRestorePoint): Promise<void> {
    await this.runner.run(
      chainStream(command.chainId),
      decider,
      {
        chain_id: command.chainId,
        vm_id: command.vmId,
        repository_id: command.repositoryId,
        backup_id: command.backupId,
        parent_backup_id: command.parentBackupId,
        rewritten: command.rewritten,
        locked_until: command.lockedUntil,
      },
      command.context,
    );
  }
}
