import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import type { Position } from '../../../../kernel/position.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { SetImmutability } from '../model/repository.commands.js';
import { repositoryStream } from '../model/repository.events.js';
import { repositoryDecider } from '../model/repository.state.js';
import { decideImmutability } from './set-immutability.decide.js';

const decider = repositoryDecider(decideImmutability);

@CommandHandler(SetImmutability)
export class SetImmutabilityHandler implements ICommandHandler<SetImmutability> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
  ) {}

  async execute({ repositoryId: repository_id, immutability, context }: SetImmutability): Promise<{ position: Position | null }> {
    const command = { repository_id, ...immutability, set_at: this.clock.iso() };
    const { position } = await this.runner.run(repositoryStream(repository_id), decider, command, context);
    return { position };
  }
}
