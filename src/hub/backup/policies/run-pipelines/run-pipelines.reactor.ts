import { setTimeout as pause } from 'node:timers/promises';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import type { Subscription } from 'rxjs';
import { DataSource, IsNull } from 'typeorm';
import { PipelineReadModel } from '../../../../../projections/pipelines/pipelines.read-model.js';
import { VerificationReadModel } from '../../../../../projections/verifications/verifications.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { Reconciler, type StepOutcome } from '../../../store/reconciler/reconciler.js';
import { StartVerification, type WantedBoot } from '../../verifications/model/verification.commands.js';
import type { PipelineStepEnded } from '../model/pipeline.events.js';
import { PipelineRecorder } from '../model/pipeline.recorder.js';
import type { PipelineState, PipelineStep } from '../model/pipeline.state.js';
import { outcomesOf, refusedSteps } from '../model/plan-pipeline.plan.js';

/** All pipelines are one item: their verifications run one after the other anyway. */
const ALL = 'all';
/** Verifications requested ahead. They record which files they read, so that more would hold up pruning. */
const AHEAD = 2;
/** Looked at together, oldest first. */
const LOOKED_AT = 1000;
/** Begun in one step, also in vain. */
const TRIED_AT_ONCE = 20;
const RETRY_MS = 30_000;
/** After this, a repository that cannot be reached ends the steps. */
const PATIENCE_MS = 24 * 3_600_000;
const STOP_PATIENCE_MS = 1_000;
const ENDS: ReadonlySet<string> = new Set(['VerificationPassed', 'VerificationFailed', 'VerificationAborted', 'PipelinePlanned']);

type Planned = Extract<PipelineState, { status: 'planned' }>;

/** Has restore points of policies verified and booted as their pipelines say, a few at a time. */
@Injectable()
export class RunPipelinesReactor implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('RunPipelines');
  private readonly work = new Reconciler({ what: 'pipeline', step: () => this.step(), unfinished: () => Promise.resolve([ALL]) }, this.log);
  private events: Subscription | null = null;
  /** By restore point, until when it is not tried again (ms since the epoch). */
  private readonly resting = new Map<string, number>();

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly recorder: PipelineRecorder,
    private readonly commands: CommandBus,
    private readonly clock: Clock,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('pipeline', 'verification').subscribe(({ type }) => {
      if (ENDS.has(type)) this.work.poke(ALL);
    });
    this.work.start(this.feed.ready);
  }

  async onModuleDestroy(): Promise<void> {
    this.events?.unsubscribe();
    await Promise.race([this.work.end(), pause(STOP_PATIENCE_MS, undefined, { ref: false })]);
  }

  private async step(): Promise<StepOutcome> {
    await this.readModels.current('pipelines', 'verifications');
    const rows = await this.dataSource
      .getRepository(PipelineReadModel)
      .find({ where: { finished_at: IsNull() }, order: { created_position: 'ASC' }, take: LOOKED_AT });
    if (rows.length === 0) return 'done';
    const now = this.clock.now().getTime();
    for (const [id, until] of this.resting) if (until <= now) this.resting.delete(id);
    let progressed = false;
    let running = 0;
    let tried = 0;
    for (const { backup_id, steps } of rows) {
      if (!steps.some(({ status }) => status === 'running')) continue;
      if (await this.recordEnds(backup_id)) progressed = true;
      else running++;
    }
    for (const { backup_id, steps } of rows) {
      if (running >= AHEAD || tried === TRIED_AT_ONCE) break;
      if (this.work.isStopping()) return 'waiting';
      if (this.resting.has(backup_id) || !steps.some(({ status }) => status === 'pending') || steps.some(({ status }) => status === 'running')) continue;
      tried++;
      if (await this.begin(backup_id)) {
        progressed = true;
        running++;
      }
    }
    if (progressed) return 'progressed';
    return this.resting.size > 0 ? { waitingMs: RETRY_MS } : 'waiting';
  }

  /** @returns whether something was recorded */
  private async begin(backupId: string): Promise<boolean> {
    const { state } = await this.recorder.load(backupId);
    if (state.status === 'none') return false;
    const pending = state.steps.filter(({ stage }) => stage === 'pending');
    if (pending.length === 0) return false;
    const steps = pending.map(({ step }) => step);
    // Derived: a hub that was killed before it recorded the start requests the same verification again.
    const context = await this.recorder.context(backupId, derivedId(`pipeline/${backupId}/${steps.join('+')}`));
    try {
      const { verification_id } = await this.commands.execute(new StartVerification(backupId, bootOf(pending), context));
      await this.recorder.record(backupId, { kind: 'started', data: { steps, verification_id, started_at: this.clock.iso() } });
      return true;
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      if (this.mayPass(error, state)) {
        this.resting.set(backupId, this.clock.now().getTime() + RETRY_MS);
        return false;
      }
      for (const step of refusedSteps(steps, error.code)) await this.end(backupId, { step, outcome: 'refused', code: error.code, detail: error.message });
      this.log.warn('a restore point of a policy could not be checked', { backup_id: backupId, code: error.code, detail: error.message });
      return true;
    }
  }

  private mayPass({ kind }: DomainError, { planned_at }: Planned): boolean {
    return kind === 'unavailable' && this.clock.now().getTime() - Date.parse(planned_at) < PATIENCE_MS;
  }

  /** @returns whether the verification has ended */
  private async recordEnds(backupId: string): Promise<boolean> {
    const { state } = await this.recorder.load(backupId);
    if (state.status === 'none') return false;
    const started = state.steps.filter(({ stage }) => stage === 'started');
    const [first] = started;
    if (first === undefined) return true;
    const row = await this.dataSource.getRepository(VerificationReadModel).findOneBy({ verification_id: first.verification_id ?? '' });
    const outcomes = row === null ? null : outcomesOf(started, { ...row, boot: row.boot?.status === 'pending' ? null : row.boot });
    if (outcomes === null) return false;
    for (const outcome of outcomes) await this.end(backupId, outcome);
    return true;
  }

  private async end(backupId: string, ended: Omit<PipelineStepEnded['data'], 'ended_at'>): Promise<void> {
    await this.recorder.record(backupId, { kind: 'ended', data: { ...ended, ended_at: this.clock.iso() } });
  }
}

function bootOf(pending: readonly PipelineStep[]): WantedBoot | null {
  for (const step of pending) {
    if (step.step !== 'boot_check') continue;
    const { console_text, guest_agent, timeout_seconds } = step;
    return { nodeId: null, consoleText: console_text, guestAgent: guest_agent, timeoutSeconds: timeout_seconds, memoryMib: null };
  }
  return null;
}
