import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { ObserveVmDisks } from '../model/vm.commands.js';
import { vmStream } from '../model/vm.events.js';
import { vmDecider } from '../model/vm.state.js';
import { decideObserveDisks } from './observe-disks.decide.js';

const decider = vmDecider(decideObserveDisks);

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
