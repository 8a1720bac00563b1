import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { KeyedMutex } from '../../../../lib/concurrency/keyed-mutex.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { beginRun } from '../model/begin-run.plan.js';
import { OccurrenceRecorder } from '../model/occurrence.recorder.js';
import { policyNotFound, policyRunLock, RunPolicy, type StartedRun } from '../model/policy.commands.js';
import { policyStream } from '../model/policy.events.js';
import { policyHistory } from '../model/policy.state.js';
import { RunFactsReader } from '../model/run-facts.reader.js';

@CommandHandler(RunPolicy)
export class RunPolicyHandler implements ICommandHandler<RunPolicy> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly facts: RunFactsReader,
    private readonly recorder: OccurrenceRecorder,
    private readonly mutex: KeyedMutex,
  ) {}

  /** Serialised with the scheduled runs of the policy, so that no two begin at once. */
  async execute(command: RunPolicy): Promise<StartedRun> {
    return this.mutex.runExclusive(policyRunLock(command.policyId), () => this.start(command));
  }

  private async start({ policyId, context }: RunPolicy): Promise<StartedRun> {
    const occurrence_id = derivedId(`occurrence/manual/${context.commandId}`);
    const known = await this.recorder.load(occurrence_id);
    if (known.state.status !== 'none') return { occurrence_id, position: known.position };
    const { state } = await this.runner.load(policyStream(policyId), policyHistory);
    if (state.status !== 'active') throw policyNotFound(policyId);
    const look = await this.facts.look();
    const now = this.clock.iso();
    const facts = await this.facts.gather(look, policyId, state.settings, now);
    if (facts.obstacle !== null) {
      const { reason, detail } = facts.obstacle;
      const kind = reason === 'repository_unavailable' ? 'unavailable' : 'conflict';
      throw new DomainError(kind, reason, `Policy "${state.settings.name}" cannot run now. ${detail}`, { policy_id: policyId });
    }
    const identity = { policy_id: policyId, policy_name: state.settings.name, policy_version: state.version, trigger: 'manual' as const };
    const run = { occurrence_id, ...identity, due_at: now, wall_time: now, time_zone: state.settings.time_zone };
    const ending = beginRun(run, 'start', state.settings, facts, now);
    return { occurrence_id, position: await this.recorder.record(occurrence_id, { kind: 'end', ending }, context) };
  }
}
