import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { KeyedMutex } from '../../../../lib/concurrency/keyed-mutex.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { DeletePolicy, policyRunLock } from '../model/policy.commands.js';
import { policyStream } from '../model/policy.events.js';
import { policyDecider } from '../model/policy.state.js';
import { RunEndRecorder } from '../model/run-end.recorder.js';
import { decideDeletePolicy } from './delete-policy.decide.js';

const decider = policyDecider(decideDeletePolicy);

@CommandHandler(DeletePolicy)
export class DeletePolicyHandler implements ICommandHandler<DeletePolicy> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly mutex: KeyedMutex,
    private readonly runs: RunEndRecorder,
  ) {}

  /**
   * Ends the runs that are due first. A hub that is killed in between has said of them truly that a deletion was requested, whereas nobody would look at
   * the runs of a policy that is deleted already.
   */
  execute({ policyId: policy_id, context }: DeletePolicy): Promise<string | null> {
    return this.mutex.runExclusive(policyRunLock(policy_id), async () => {
      const deleted_at = this.clock.iso();
      const { state } = await this.runner.load(policyStream(policy_id), decider);
      if (state.status === 'active') await this.runs.endForDeletion(state, deleted_at);
      return (await this.runner.run(policyStream(policy_id), decider, { policy_id, deleted_at }, context)).position;
    });
  }
}
