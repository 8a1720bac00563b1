import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import type { Decider } from '../../../../kernel/decider.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { ObserveVmDisks } from '../model/vm.commands.js';
import { type VmEvent, vmStream } from '../model/vm.events.js';
import { evolveVm, initialVmState, type VmState } from '../model/vm.state.js';
import { decideObserveDisks, type ObserveDisksData } from './observe-disks.decide.js';

const decider: Decider<VmState, ObserveDisksData, VmEvent> = { initialState: initialVmState, evolve: evolveVm, decide: decideObserveDisks };

@CommandHandler(ObserveVmDisks)
export class ObserveVmDisksHandler implements ICommandHandler<ObserveVmDisks> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
  ) {}

  async execute({ vmId, disks, context }: ObserveVmDisks): Promise<void> {
    await this.runner.run(vmStream(vmId), decider, { disks, observed_at: this.clock.iso() }, context);
  }
}
