import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { ObserveVmProblem } from '../model/vm.commands.js';
import { vmStream } from '../model/vm.events.js';
import { vmDecider } from '../model/vm.state.js';
import { decideObserveProblem } from './observe-problem.decide.js';

const decider = vmDecider(decideObserveProblem);

@CommandHandler(ObserveVmProblem)
export class ObserveVmProblemHandler implements ICommandHandler<ObserveVmProblem> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
  ) {}

  async execute({ vmId, problem, context }: ObserveVmProblem): Promise<void> {
    await this.runner.run(vmStream(vmId), decider, { problem, observed_at: this.clock.iso() }, context);
  }
}
