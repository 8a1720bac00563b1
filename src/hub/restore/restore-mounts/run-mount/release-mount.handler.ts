import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { ReleaseMount } from '../model/restore-mount.commands.js';
import { MountRunner } from './run-mount.runner.js';

@CommandHandler(ReleaseMount)
export class ReleaseMountHandler implements ICommandHandler<ReleaseMount> {
  constructor(private readonly mounts: MountRunner) {}

  execute({ mountId, reason, detail, context }: ReleaseMount): Promise<string | null> {
    return this.mounts.release(mountId, reason, detail, context);
  }
}
