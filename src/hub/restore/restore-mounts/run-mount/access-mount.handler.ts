import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { AccessMount, type MountAccess } from '../model/restore-mount.commands.js';
import { MountRunner } from './run-mount.runner.js';

@CommandHandler(AccessMount)
export class AccessMountHandler implements ICommandHandler<AccessMount> {
  constructor(private readonly mounts: MountRunner) {}

  execute({ mountId, correlationId }: AccessMount): Promise<MountAccess> {
    return this.mounts.access(mountId, correlationId);
  }
}
