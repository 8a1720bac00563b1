import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { RecordCopyRetention } from '../model/copy.commands.js';
import { copyStream } from '../model/copy.events.js';
import { copyDecider } from '../model/copy.state.js';
import { decideRecordCopyRetention } from './record-copy-retention.decide.js';

const decider = copyDecider(decideRecordCopyRetention);

@CommandHandler(RecordCopyRetention)
export class RecordCopyRetentionHandler implements ICommandHandler<RecordCopyRetention> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly config: HubConfig,
  ) {}

  async execute({ copyId, finding, context }: RecordCopyRetention): Promise<boolean> {
    const now = this.clock.now();
    const grace_until = new Date(now.getTime() + this.config.expiryGraceSeconds * 1_000).toISOString();
    const { events } = await this.runner.run(copyStream(copyId), decider, { finding, at: now.toISOString(), grace_until }, context);
    return events.length > 0;
  }
}
