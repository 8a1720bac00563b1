import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { RecordTunnel } from '../model/node.commands.js';
import { nodeStream } from '../model/node.events.js';
import { nodeDecider } from '../model/node.state.js';
import { decideRecordTunnel } from './record-tunnel.decide.js';

const decider = nodeDecider(decideRecordTunnel);

@CommandHandler(RecordTunnel)
export class RecordTunnelHandler implements ICommandHandler<RecordTunnel> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
  ) {}

  async execute({ nodeId, journalId, changes, context }: RecordTunnel): Promise<void> {
    await this.runner.run(nodeStream(nodeId), decider, { journal_id: journalId, changes, now: this.clock.iso() }, context);
  }
}
