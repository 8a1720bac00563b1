import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { KeyedMutex, vmUseLock } from '../../../../lib/concurrency/keyed-mutex.js';
import { RegisterLock, VMS_AND_NODES } from '../../../store/register-lock/register-lock.js';
import { RemoveVm } from '../model/vm.commands.js';
import { vmStream } from '../model/vm.events.js';
import { vmDecider } from '../model/vm.state.js';
import { decideRemoveVm } from './remove-vm.decide.js';

const decider = vmDecider(decideRemoveVm);

@CommandHandler(RemoveVm)
export class RemoveVmHandler implements ICommandHandler<RemoveVm> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly dataSource: DataSource,
    private readonly lock: RegisterLock,
    private readonly mutex: KeyedMutex,
  ) {}

  /** Serialised with requests for backups of this VM: one requested before is counted, and none can be requested during the removal. */
  async execute({ vmId, context }: RemoveVm): Promise<string | null> {
    return this.mutex.runExclusive(vmUseLock(vmId), () => this.remove(vmId, context));
  }

  private async remove(vmId: string, context: CommandContext): Promise<string | null> {
    return this.lock.run(VMS_AND_NODES, ['vms', 'backups'], async () => {
      const backups = this.dataSource.getRepository(BackupReadModel);
      const restorePoints = await backups.countBy({ vm_id: vmId, status: 'completed' });
      const unfinished = await backups.countBy([
        { vm_id: vmId, status: 'pending' },
        { vm_id: vmId, status: 'running' },
        { vm_id: vmId, status: 'failed', undone: false },
        { vm_id: vmId, status: 'cancelled', undone: false },
        { vm_id: vmId, status: 'deleted', files_removed: false },
      ]);
      const command = { vm_id: vmId, restore_points: restorePoints, unfinished_backups: unfinished, removed_at: this.clock.iso() };
      return (await this.runner.run(vmStream(vmId), decider, command, context)).position;
    });
  }
}
