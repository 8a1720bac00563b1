import { isDeepStrictEqual } from 'node:util';
import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { POLICIES, RegisterLock } from '../../../store/register-lock/register-lock.js';
import { EditPolicy, type RecordedPolicy } from '../model/policy.commands.js';
import { type PolicySettings, policyStream } from '../model/policy.events.js';
import { PolicyReader } from '../model/policy.reader.js';
import { policyDecider } from '../model/policy.state.js';
import { type RetentionVersion, retentionVersion } from '../model/retention.plan.js';
import { RETENTION_READ_MODELS, RetentionReader } from '../model/retention.reader.js';
import { decideEditPolicy } from './edit-policy.decide.js';

const decider = policyDecider(decideEditPolicy);
const POLICY_READ_MODELS = ['policies', 'vms', 'repositories', 'blackouts'] as const;

@CommandHandler(EditPolicy)
export class EditPolicyHandler implements ICommandHandler<EditPolicy> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly clock: Clock,
    private readonly lock: RegisterLock,
    private readonly policies: PolicyReader,
    private readonly retention: RetentionReader,
  ) {}

  async execute({ policyId: policy_id, version, settings, confirmExpiring: confirmed, context }: EditPolicy): Promise<RecordedPolicy> {
    return this.lock.run(POLICIES, [...POLICY_READ_MODELS, ...RETENTION_READ_MODELS], async () => {
      const facts = await this.policies.factsFor(policy_id, settings, this.clock.iso());
      const expiring = await this.newlyExpiring(policy_id, settings);
      const { position } = await this.runner.run(policyStream(policy_id), decider, { policy_id, version, settings, facts, expiring, confirmed }, context);
      return { policy_id, position };
    });
  }

  private async newlyExpiring(policyId: string, settings: PolicySettings): Promise<number> {
    const { state } = await this.runner.load(policyStream(policyId), decider);
    if (state.status !== 'active') return 0;
    const next = retentionVersion(state.version + 1, settings);
    if (decidesAlike(next, state.retentions.at(-1))) return 0;
    return (await this.retention.compare(policyId, state.retentions, [...state.retentions, next], this.clock.now().getTime())).newly_expiring;
  }
}

/** Most edits do not touch the retention, and then no restore point has to be looked at. */
function decidesAlike({ version: _next, ...next }: RetentionVersion, last: RetentionVersion | undefined): boolean {
  if (last === undefined) return false;
  const { version: _last, ...previous } = last;
  return isDeepStrictEqual(next, previous);
}
