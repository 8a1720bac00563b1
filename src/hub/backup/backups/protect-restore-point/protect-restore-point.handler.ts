import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import type { Position } from '../../../../kernel/position.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { ProtectRestorePoint } from '../model/backup.commands.js';
import { backupStream } from '../model/backup.events.js';
import { backupDecider } from '../model/backup.state.js';
import { decideProtectRestorePoint } from './protect-restore-point.decide.js';

const decider = backupDecider(decideProtectRestorePoint);

@CommandHandler(ProtectRestorePoint)
export class ProtectRestorePointHandler implements ICommandHandler<ProtectRestorePoint> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
  ) {}

  async execute({ backupId: backup_id, change, reason, context }: ProtectRestorePoint): Promise<{ position: Position | null }> {
    const { position } = await this.runner.run(backupStream(backup_id), decider, { backup_id, change, reason, at: this.clock.iso() }, context);
    return { position };
  }
}
