import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import type { Subscription } from 'rxjs';
import { Clock } from '../../../../lib/clock/clock.js';
import { KeyedMutex } from '../../../../lib/concurrency/keyed-mutex.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { beginRun, waitsFor } from '../model/begin-run.plan.js';
import { type ExpectedRun, expectedRuns, nextRun, planEnding, type RunEnding } from '../model/expected-runs.plan.js';
import { policyRunLock } from '../model/policy.commands.js';
import { policyStream } from '../model/policy.events.js';
import { PolicyReader } from '../model/policy.reader.js';
import { type ActivePolicy, policyHistory } from '../model/policy.state.js';
import { runIdentity, RunEndRecorder } from '../model/run-end.recorder.js';
import { type RunLook, RunFactsReader } from '../model/run-facts.reader.js';
import type { RunSettings } from '../model/start-window.plan.js';

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
  /** Per policy, the version that was looked at, and when its next run is due (null: never): until then nothing has to be read. */
  private readonly planned = new Map<string, { readonly version: number; readonly at: string | null }>();
  /** Per policy, the run that could have begun at `since`, and waits for its node or repository. */
  private readonly waiting = new Map<string, { readonly wall_time: string; readonly kind: 'start' | 'catch_up'; readonly since: string }>();
  /** Set by the event, and taken by the next look: one that is under way still plans by the blackouts of before. */
  private blackoutsChanged = false;
  private stopped = false;

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly runner: CommandRunner,
    private readonly policies: PolicyReader,
    private readonly facts: RunFactsReader,
    private readonly ends: RunEndRecorder,
    private readonly mutex: KeyedMutex,
    private readonly clock: Clock,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('policy', 'blackout').subscribe(({ type }) => {
      // Another end of a blackout is another time to look at the policies that it defers.
      if (type === 'BlackoutEdited') this.blackoutsChanged = true;
      void this.look();
    });
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
    await this.readModels.current('policies', 'policy_occurrences', 'blackouts');
    const now = this.clock.iso();
    if (this.blackoutsChanged) this.planned.clear();
    this.blackoutsChanged = false;
    const policies = await this.policies.all();
    let looked: Promise<RunLook> | null = null;
    const look = (): Promise<RunLook> => (looked ??= this.facts.look());
    for (const { policy_id, version } of policies) {
      const known = this.planned.get(policy_id);
      if (known?.version === version && (known.at === null || known.at > now)) continue;
      const at = await this.mutex.runExclusive(policyRunLock(policy_id), () => this.endDue(policy_id, look));
      this.planned.set(policy_id, { version, at });
    }
    const existing = new Set(policies.map(({ policy_id }) => policy_id));
    for (const map of [this.planned, this.waiting]) for (const policyId of map.keys()) if (!existing.has(policyId)) map.delete(policyId);
    return [...this.planned.values()].reduce<string | null>((next, { at }) => earlier(at, next), null);
  }

  /** @returns when to look at the policy again; null: never */
  private async endDue(policyId: string, look: () => Promise<RunLook>): Promise<string | null> {
    const { state } = await this.runner.load(policyStream(policyId), policyHistory);
    if (state.status !== 'active') return null;
    const settings = await this.policies.withBlackouts(state.settings);
    const now = this.clock.iso();
    const next = nextRun(state.periods, now);
    const due = expectedRuns(state.periods, await this.ends.newestEnded(state), now);
    for (const [index, run] of due.entries()) {
      if (this.stopped) return null;
      const newer = due[index + 1] ?? null;
      const waiting = this.waiting.get(policyId);
      const ending = newer === null && waiting?.wall_time === run.wall_time ? waiting : planEnding(run, { now, newer, next }, settings);
      const wake = await this.end({ ...state, settings }, run, ending, now, look);
      if (wake !== null) return earlier(wake, next?.at ?? null);
      this.waiting.delete(policyId);
    }
    return next?.at ?? null;
  }

  /** @returns when to try again; null: the run has ended */
  private async end(
    policy: ActivePolicy & { readonly settings: RunSettings },
    run: ExpectedRun,
    ending: RunEnding,
    now: string,
    look: () => Promise<RunLook>,
  ): Promise<string | null> {
    const { policy_id, settings } = policy;
    const identity = runIdentity(policy, run);
    switch (ending.kind) {
      case 'wait':
        return ending.until;
      case 'skipped':
      case 'missed':
        await this.ends.recordNotBegun(identity, ending, now);
        return null;
      case 'start':
      case 'catch_up': {
        const facts = await this.facts.gather(await look(), policy_id, settings, now);
        const since = this.waiting.get(policy_id)?.since ?? now;
        if (waitsFor(facts.obstacle, since, now)) {
          this.waiting.set(policy_id, { wall_time: run.wall_time, kind: ending.kind, since });
          return new Date(Date.parse(now) + RETRY_MS).toISOString();
        }
        await this.ends.record(beginRun(identity, ending.kind, settings, facts, now));
        return null;
      }
    }
  }
}

function earlier(at: string | null, other: string | null): string | null {
  if (at === null || other === null) return at ?? other;
  return other < at ? other : at;
}
