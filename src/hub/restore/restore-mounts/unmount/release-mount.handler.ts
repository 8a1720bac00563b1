import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import type { Position } from '../../../../kernel/position.js';
import { MountRunner } from '../model/mount.runner.js';
import { ReleaseMount } from '../model/restore-mount.commands.js';

@CommandHandler(ReleaseMount)
export class ReleaseMountHandler implements ICommandHandler<ReleaseMount> {
  constructor(private readonly mounts: MountRunner) {}

  execute({ mountId, context }: ReleaseMount): Promise<Position | null> {
    return this.mounts.release(mountId, 'requested', null, context);
  }
}
