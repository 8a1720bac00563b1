import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { RecordLeftovers } from '../model/node.commands.js';
import { nodeStream } from '../model/node.events.js';
import { nodeDecider } from '../model/node.state.js';
import { decideRecordLeftovers } from './record-leftovers.decide.js';

const decider = nodeDecider(decideRecordLeftovers);

@CommandHandler(RecordLeftovers)
export class RecordLeftoversHandler implements ICommandHandler<RecordLeftovers> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
  ) {}

  async execute({ nodeId, changeIds, swept, context }: RecordLeftovers): Promise<void> {
    await this.runner.run(nodeStream(nodeId), decider, { change_ids: changeIds, swept, removed_at: this.clock.iso() }, context);
  }
}
