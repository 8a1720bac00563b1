import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import type { Position } from '../../../../kernel/position.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { CancelCopy } from '../model/copy.commands.js';
import { copyStream } from '../model/copy.events.js';
import { copyDecider } from '../model/copy.state.js';
import { decideCancelCopy } from './cancel-copy.decide.js';

const decider = copyDecider(decideCancelCopy);

@CommandHandler(CancelCopy)
export class CancelCopyHandler implements ICommandHandler<CancelCopy> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
  ) {}

  async execute({ copyId, context }: CancelCopy): Promise<{ readonly position: Position | null }> {
    const { position } = await this.runner.run(copyStream(copyId), decider, { copy_id: copyId, cancelled_at: this.clock.iso() }, context);
    return { position };
  }
}
