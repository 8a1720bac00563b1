import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { PolicyOccurrenceReadModel } from '../../../../../projections/policy-occurrences/policy-occurrences.read-model.js';
import { derivedId } from '../../../../lib/clock/clock.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { endingOfDeleted, type ExpectedRun, expectedRuns, nextRun, planEnding, type RunEnding } from './expected-runs.plan.js';
import type { OccurrenceEnding, RunIdentity } from './occurrence.events.js';
import { OccurrenceRecorder } from './occurrence.recorder.js';
import { PolicyReader } from './policy.reader.js';
import type { ActivePolicy } from './policy.state.js';
import { occurrenceName } from './schedule.plan.js';

/** Records how expected runs of policies ended. The caller holds the lock of the policy's runs. */
@Injectable()
export class RunEndRecorder {
  private readonly log = loggerFor('RunPolicies');

  constructor(
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly policies: PolicyReader,
    private readonly recorder: OccurrenceRecorder,
  ) {}

  /** The time of the newest run that has ended; all earlier ones have ended too, because they end in order. */
  async newestEnded({ policy_id, periods }: ActivePolicy): Promise<string> {
    const newest = await this.dataSource
      .getRepository(PolicyOccurrenceReadModel)
      .findOne({ where: { policy_id, trigger: 'schedule' }, order: { due_at: 'DESC' } });
    return newest?.due_at.toISOString() ?? periods[0]?.from ?? '';
  }

  /** Ends all runs of a policy that are due, because it is about to be deleted. */
  async endForDeletion(policy: ActivePolicy, now: string): Promise<void> {
    await this.readModels.current('policy_occurrences', 'blackouts');
    const settings = await this.policies.withBlackouts(policy.settings);
    const next = nextRun(policy.periods, now);
    const due = expectedRuns(policy.periods, await this.newestEnded(policy), now);
    for (const [index, run] of due.entries()) {
      const ending = endingOfDeleted(planEnding(run, { now, newer: due[index + 1] ?? null, next }, settings));
      await this.recordNotBegun(runIdentity(policy, run), ending, now);
    }
  }

  async recordNotBegun(identity: RunIdentity, ending: Exclude<RunEnding, { kind: 'start' | 'catch_up' | 'wait' }>, now: string): Promise<void> {
    const { detail } = ending;
    await this.record(
      ending.kind === 'skipped'
        ? { type: 'OccurrenceSkipped', data: { ...identity, reason: ending.reason, detail, recorded_at: now } }
        : { type: 'OccurrenceMissed', data: { ...identity, reason: ending.reason, detail, recorded_at: now } },
    );
  }

  /** The id of the command is derived from that of the run, so that a repeated one records nothing. */
  async record(ending: OccurrenceEnding): Promise<void> {
    const { occurrence_id, policy_id, due_at } = ending.data;
    await this.recorder.record(occurrence_id, { kind: 'end', ending }, await this.recorder.context(occurrence_id, derivedId(`end/${occurrence_id}`)));
    this.log.info('a run of a policy ended', { policy_id, occurrence_id, due_at, type: ending.type });
  }
}

/** Derived from policy, wall time and zone: so a run ends once. */
export function runIdentity({ policy_id, settings }: ActivePolicy, { at, wall_time, time_zone, version }: ExpectedRun): RunIdentity {
  const occurrence_id = derivedId(occurrenceName(policy_id, { at, wall_time }, time_zone));
  return { occurrence_id, policy_id, policy_name: settings.name, policy_version: version, trigger: 'schedule', due_at: at, wall_time, time_zone };
}
