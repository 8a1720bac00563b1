import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { RemoveRestorePoint } from '../model/chain.commands.js';
import { chainStream } from '../model/chain.events.js';
import { chainDecider } from '../model/chain.state.js';
import { decideRemoveRestorePoint } from './remove-restore-point.decide.js';

const decider = chainDecider(decideRemoveRestorePoint);

@CommandHandler(RemoveRestorePoint)
export class RemoveRestorePointHandler implements ICommandHandler<RemoveRestorePoint> {
  constructor(private readonly runner: CommandRunner) {}

  async execute(command: RemoveRestorePoint): Promise<void> {
    await this.runner.run(chainStream(command.chainId), decider, { backup_id: command.backupId }, command.context);
  }
}
