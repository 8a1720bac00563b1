import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { MarkRestorePointHealed } from '../model/chain.commands.js';
import { chainStream } from '../model/chain.events.js';
import { chainDecider } from '../model/chain.state.js';
import { decideMarkHealed } from './mark-healed.decide.js';

const decider = chainDecider(decideMarkHealed);

@CommandHandler(MarkRestorePointHealed)
export class MarkRestorePointHealedHandler implements ICommandHandler<MarkRestorePointHealed> {
  private readonly log = loggerFor('MarkRestorePointHealed');

  constructor(private readonly runner: CommandRunner) {}

  async execute({ chainId, backupId, healing, context }: MarkRestorePointHealed): Promise<void> {
    const { events } = await this.runner.run(chainStream(chainId), decider, { backup_id: backupId, ...healing }, context);
    if (events.length > 0) this.log.info('the files of a damaged restore point are sound again', { backup_id: backupId, ...healing });
  }
}
