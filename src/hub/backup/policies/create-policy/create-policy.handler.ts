import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { POLICIES, RegisterLock } from '../../../store/register-lock/register-lock.js';
import { CreatePolicy, type RecordedPolicy } from '../model/policy.commands.js';
import { policyStream } from '../model/policy.events.js';
import { PolicyReader } from '../model/policy.reader.js';
import { policyDecider } from '../model/policy.state.js';
import { decideCreatePolicy } from './create-policy.decide.js';

const decider = policyDecider(decideCreatePolicy);

@CommandHandler(CreatePolicy)
export class CreatePolicyHandler implements ICommandHandler<CreatePolicy> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly lock: RegisterLock,
    private readonly policies: PolicyReader,
  ) {}

  async execute({ settings, context }: CreatePolicy): Promise<RecordedPolicy> {
    // Derived, so that a repeated command creates the same policy.
    const policy_id = derivedId(`policy/${context.commandId}`);
    return this.lock.run(POLICIES, ['policies', 'vms', 'repositories', 'blackouts'], async () => {
      const facts = await this.policies.factsFor(policy_id, settings, this.clock.iso());
      const { position } = await this.runner.run(policyStream(policy_id), decider, { policy_id, settings, facts }, context);
      return { policy_id, position };
    });
  }
}
