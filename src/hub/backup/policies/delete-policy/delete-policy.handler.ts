import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { DeletePolicy } from '../model/policy.commands.js';
import { policyStream } from '../model/policy.events.js';
import { policyDecider } from '../model/policy.state.js';
import { decideDeletePolicy } from './delete-policy.decide.js';

const decider = policyDecider(decideDeletePolicy);

@CommandHandler(DeletePolicy)
export class DeletePolicyHandler implements ICommandHandler<DeletePolicy> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
  ) {}

  async execute({ policyId: policy_id, context }: DeletePolicy): Promise<string | null> {
    return (await this.runner.run(policyStream(policy_id), decider, { policy_id, deleted_at: this.clock.iso() }, context)).position;
  }
}
