import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { BringUpMount, type MountOutcome } from '../model/restore-mount.commands.js';
import { MountRunner } from './run-mount.runner.js';

@CommandHandler(BringUpMount)
export class BringUpMountHandler implements ICommandHandler<BringUpMount> {
  constructor(private readonly mounts: MountRunner) {}

  execute({ mountId, context }: BringUpMount): Promise<MountOutcome> {
    return this.mounts.bringUp(mountId, context);
  }
}
