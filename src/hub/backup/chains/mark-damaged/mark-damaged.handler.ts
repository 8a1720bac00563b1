import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import type { Decider } from '../../../../kernel/decider.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { MarkRestorePointDamaged } from '../model/chain.commands.js';
import { type ChainEvent, type RestorePointDamaged, chainStream } from '../model/chain.events.js';
import { type ChainState, evolveChain, initialChainState } from '../model/chain.state.js';
import { decideMarkDamaged } from './mark-damaged.decide.js';

const decider: Decider<ChainState, RestorePointDamaged['data'], ChainEvent> = {
  initialState: initialChainState,
  evolve: evolveChain,
  decide: decideMarkDamaged,
};

@CommandHandler(MarkRestorePointDamaged)
export class MarkRestorePointDamagedHandler implements ICommandHandler<MarkRestorePointDamaged> {
  constructor(private readonly runner: CommandRunner) {}

  async execute(command: MarkRestorePointDamaged): Promise<void> {
    await this.runner.run(chainStream(command.chainId), decider, { backup_id: command.backupId, ...command.finding }, command.context);
  }
}
