import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { MarkRestorePointDamaged } from '../model/chain.commands.js';
import { chainStream } from '../model/chain.events.js';
import { chainDecider } from '../model/chain.state.js';
import { decideMarkDamaged } from './mark-damaged.decide.js';

const decider = chainDecider(decideMarkDamaged);

@CommandHandler(MarkRestorePointDamaged)
export class MarkRestorePointDamagedHandler implements ICommandHandler<MarkRestorePointDamaged> {
  constructor(private readonly runner: CommandRunner) {}

  async execute(command: MarkRestorePointDamaged): Promise<void> {
    await this.runner.run(chainStream(command.chainId), decider, { backup_id: command.backupId, ...command.finding }, command.context);
  }
}
