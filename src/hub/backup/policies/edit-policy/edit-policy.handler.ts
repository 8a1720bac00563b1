import { isDeepStrictEqual } from 'node:util';
import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { POLICIES, RegisterLock } from '../../../store/register-lock/register-lock.js';
import { EditPolicy, type RecordedPolicy } from '../model/policy.commands.js';
import { type PolicySettings, policyStream } from '../model/policy.events.js';
import { COPY_RETENTION_READ_MODELS, CopyRetentionReader } from '../model/copy-retention.reader.js';
import { PolicyReader } from '../model/policy.reader.js';
import { type ActivePolicy, policyDecider } from '../model/policy.state.js';
import { type RetentionVersion, retentionVersion } from '../model/retention.plan.js';
import { RetentionReader } from '../model/retention.reader.js';
import { decideEditPolicy, type EditPolicyData } from './edit-policy.decide.js';

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
    private readonly copies: CopyRetentionReader,
  ) {}

  async execute({ policyId: policy_id, version, settings, confirmExpiring: confirmed, context }: EditPolicy): Promise<RecordedPolicy> {
    return this.lock.run(POLICIES, [...POLICY_READ_MODELS, ...COPY_RETENTION_READ_MODELS], async () => {
      const facts = await this.policies.factsFor(policy_id, settings, this.clock.iso());
      const expiring = await this.newlyExpiring(policy_id, settings);
      const { position } = await this.runner.run(policyStream(policy_id), decider, { policy_id, version, settings, facts, expiring, confirmed }, context);
      return { policy_id, position };
    });
  }

  private async newlyExpiring(policyId: string, settings: PolicySettings): Promise<EditPolicyData['expiring']> {
    const { state } = await this.runner.load(policyStream(policyId), decider);
    if (state.status !== 'active') return { points: 0, copies: 0 };
    const next = retentionVersion(state.version + 1, settings);
    const now = this.clock.now().getTime();
    const points = decidesAlike(next, state.retentions.at(-1))
      ? 0
      : (await this.retention.compare(policyId, state.retentions, [...state.retentions, next], now)).newly_expiring;
    return { points, copies: await this.expiringCopies(state, settings, now) };
  }

  private async expiringCopies(state: ActivePolicy, settings: PolicySettings, now: number): Promise<number> {
    const [before, after] = [state.settings, settings].map(({ time_zone, copies = [] }) => ({ time_zone, copies }));
    if (isDeepStrictEqual(before, after)) return 0;
    return this.copies.newlyExpiring(state.policy_id, state, { version: state.version + 1, settings }, now);
  }
}

/** Most edits do not touch the retention, and then no restore point has to be looked at. */
function decidesAlike({ version: _next, ...next }: RetentionVersion, last: RetentionVersion | undefined): boolean {
  if (last === undefined) return false;
  const { version: _last, ...previous } = last;
  return isDeepStrictEqual(next, previous);
}
