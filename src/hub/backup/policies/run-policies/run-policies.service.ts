import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import type { Subscription } from 'rxjs';
import { DataSource } from 'typeorm';
import { PolicyOccurrenceReadModel } from '../../../../../projections/policy-occurrences/policy-occurrences.read-model.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { KeyedMutex } from '../../../../lib/concurrency/keyed-mutex.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { beginRun } from '../model/begin-run.plan.js';
import { type ExpectedRun, expectedRuns, nextRun, planEnding, type RunEnding } from '../model/expected-runs.plan.js';
import type { OccurrenceEnding, RunIdentity } from '../model/occurrence.events.js';
import { OccurrenceRecorder } from '../model/occurrence.recorder.js';
import { policyRunLock } from '../model/policy.commands.js';
import { policyStream } from '../model/policy.events.js';
import { PolicyReader } from '../model/policy.reader.js';
import { type ActivePolicy, policyHistory } from '../model/policy.state.js';
import { RunFactsReader } from '../model/run-facts.reader.js';
import { occurrenceName } from '../model/schedule.plan.js';

/** The longest sleep: a timer does not notice that the clock was set, or that the machine was suspended. */
const LONGEST_SLEEP_MS = 60_000;
const RETRY_MS = 5_000;

/** Ends each expected run of each policy exactly once. All it knows is read from policies and recorded occurrences, so a restart changes nothing. */
@Injectable()
export class RunPoliciesService implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('RunPolicies');
  private readonly looks = new KeyedMutex();
  private events: Subscription | null = null;
  private timer: NodeJS.Timeout | undefined;
  /** null: nothing is expected. */
  private nextLook: string | null = null;
  private stopped = false;

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly runner: CommandRunner,
    private readonly policies: PolicyReader,
    private readonly facts: RunFactsReader,
    private readonly recorder: OccurrenceRecorder,
    private readonly mutex: KeyedMutex,
    private readonly clock: Clock,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('policy').subscribe(() => void this.look());
    void this.feed.ready.then(() => this.look());
  }

  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    this.events?.unsubscribe();
    clearTimeout(this.timer);
    await this.looks.runExclusive('look', () => Promise.resolve());
  }

  /** Ends all runs that are due; resolves when that is recorded. Never rejects. */
  async look(): Promise<void> {
    await this.looks.runExclusive('look', async () => {
      if (this.stopped) return;
      clearTimeout(this.timer);
      try {
        this.nextLook = await this.endAllDue();
        this.sleep();
      } catch (error) {
        this.log.warn('could not look for due runs of policies; trying again', { error });
        this.timer = setTimeout(() => void this.look(), RETRY_MS);
      }
    });
  }

  private sleep(): void {
    if (this.stopped || this.nextLook === null) return;
    const ms = Date.parse(this.nextLook) - this.clock.now().getTime();
    if (ms <= 0) this.timer = setTimeout(() => void this.look(), 0);
    else this.timer = setTimeout(() => this.sleep(), Math.min(ms, LONGEST_SLEEP_MS));
  }

  /** @returns when the next run is due; null: never */
  private async endAllDue(): Promise<string | null> {
    await this.readModels.current('policies', 'policy_occurrences');
    let next: string | null = null;
    for (const { policy_id } of await this.policies.all()) {
      const at = await this.mutex.runExclusive(policyRunLock(policy_id), () => this.endDue(policy_id));
      if (at !== null && (next === null || at < next)) next = at;
    }
    return next;
  }

  private async endDue(policyId: string): Promise<string | null> {
    const { state } = await this.runner.load(policyStream(policyId), policyHistory);
    if (state.status !== 'active') return null;
    const now = this.clock.iso();
    const next = nextRun(state.periods, now);
    const due = expectedRuns(state.periods, await this.newestEnded(state), now);
    for (const [index, run] of due.entries()) {
      if (this.stopped) return null;
      const ending = planEnding(run, { now, newer: due[index + 1] ?? null, next }, state.settings);
      if (ending.kind === 'wait') return earlier(ending.until, next?.at ?? null);
      await this.end(state, run, ending, now);
    }
    return next?.at ?? null;
  }

  /** The time of the newest run that has ended; all earlier ones have ended too, because they end in order. */
  private async newestEnded({ policy_id, periods }: ActivePolicy): Promise<string> {
    const newest = await this.dataSource
      .getRepository(PolicyOccurrenceReadModel)
      .findOne({ where: { policy_id, trigger: 'schedule' }, order: { due_at: 'DESC' } });
    return newest?.due_at.toISOString() ?? periods[0]?.from ?? '';
  }

  private async end(policy: ActivePolicy, run: ExpectedRun, ending: Exclude<RunEnding, { kind: 'wait' }>, now: string): Promise<void> {
    const occurrence_id = derivedId(occurrenceName(policy.policy_id, run, run.time_zone));
    const identity: RunIdentity = {
      occurrence_id,
      policy_id: policy.policy_id,
      policy_name: policy.settings.name,
      policy_version: run.version,
      trigger: 'schedule',
      due_at: run.at,
      wall_time: run.wall_time,
      time_zone: run.time_zone,
    };
    const recorded = await this.endingOf(policy, identity, ending, now);
    // The id of the command is derived too, so that a repeated one records nothing.
    await this.recorder.record(occurrence_id, { kind: 'end', ending: recorded }, await this.recorder.context(occurrence_id, derivedId(`end/${occurrence_id}`)));
    this.log.info('a run of a policy ended', { policy_id: policy.policy_id, occurrence_id, due_at: run.at, type: recorded.type });
    await this.readModels.current('policy_occurrences');
  }

  private async endingOf(policy: ActivePolicy, run: RunIdentity, ending: Exclude<RunEnding, { kind: 'wait' }>, now: string): Promise<OccurrenceEnding> {
    switch (ending.kind) {
      case 'skipped':
        return { type: 'OccurrenceSkipped', data: { ...run, reason: ending.reason, detail: ending.detail, recorded_at: now } };
      case 'missed':
        return { type: 'OccurrenceMissed', data: { ...run, reason: ending.reason, detail: ending.detail, recorded_at: now } };
      case 'start':
      case 'catch_up':
        await this.readModels.current('vms', 'nodes', 'repositories');
        return beginRun(run, ending.kind, policy.settings, await this.facts.gather(policy.policy_id, policy.settings, now), now);
    }
  }
}

function earlier(at: string, other: string | null): string {
  return other !== null && other < at ? other : at;
}
