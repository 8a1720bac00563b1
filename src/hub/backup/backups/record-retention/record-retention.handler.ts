import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { RecordRetention } from '../model/backup.commands.js';
import { backupStream } from '../model/backup.events.js';
import { backupDecider } from '../model/backup.state.js';
import { decideRecordRetention } from './record-retention.decide.js';

const decider = backupDecider(decideRecordRetention);

@CommandHandler(RecordRetention)
export class RecordRetentionHandler implements ICommandHandler<RecordRetention> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly config: HubConfig,
  ) {}

  async execute({ backupId, finding, context }: RecordRetention): Promise<boolean> {
    const now = this.clock.now();
    const grace_until = new Date(now.getTime() + this.config.expiryGraceSeconds * 1_000).toISOString();
    const { events } = await this.runner.run(backupStream(backupId), decider, { finding, at: now.toISOString(), grace_until }, context);
    return events.length > 0;
  }
}
