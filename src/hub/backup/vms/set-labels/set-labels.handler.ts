import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { SetVmLabels } from '../model/vm.commands.js';
import { vmStream } from '../model/vm.events.js';
import { vmDecider } from '../model/vm.state.js';
import { decideSetLabels } from './set-labels.decide.js';

const decider = vmDecider(decideSetLabels);

@CommandHandler(SetVmLabels)
export class SetVmLabelsHandler implements ICommandHandler<SetVmLabels> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
  ) {}

  async execute({ vmId: vm_id, labels, context }: SetVmLabels): Promise<string | null> {
    return (await this.runner.run(vmStream(vm_id), decider, { vm_id, labels, set_at: this.clock.iso() }, context)).position;
  }
}
