import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { POLICIES, RegisterLock } from '../../../store/register-lock/register-lock.js';
import { EditPolicy, type RecordedPolicy } from '../model/policy.commands.js';
import { policyStream } from '../model/policy.events.js';
import { PolicyReader } from '../model/policy.reader.js';
import { policyDecider } from '../model/policy.state.js';
import { decideEditPolicy } from './edit-policy.decide.js';

const decider = policyDecider(decideEditPolicy);

@CommandHandler(EditPolicy)
export class EditPolicyHandler implements ICommandHandler<EditPolicy> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly lock: RegisterLock,
    private readonly policies: PolicyReader,
  ) {}

  async execute({ policyId: policy_id, version, settings, context }: EditPolicy): Promise<RecordedPolicy> {
    return this.lock.run(POLICIES, ['policies', 'vms', 'repositories'], async () => {
      const facts = await this.policies.factsFor(policy_id, settings, this.clock.iso());
      const { position } = await this.runner.run(policyStream(policy_id), decider, { policy_id, version, settings, facts }, context);
      return { policy_id, position };
    });
  }
}
