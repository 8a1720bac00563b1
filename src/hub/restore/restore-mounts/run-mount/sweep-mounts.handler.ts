import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { SweepMounts, type SweepReport } from '../model/restore-mount.commands.js';
import { MountRunner } from './run-mount.runner.js';

@CommandHandler(SweepMounts)
export class SweepMountsHandler implements ICommandHandler<SweepMounts> {
  constructor(private readonly mounts: MountRunner) {}

  execute(): Promise<SweepReport> {
    return this.mounts.sweep();
  }
}
