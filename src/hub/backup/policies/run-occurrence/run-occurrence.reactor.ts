import { setTimeout as pause } from 'node:timers/promises';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import pLimit from 'p-limit';
import type { Subscription } from 'rxjs';
import { DataSource, In, IsNull } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { PipelineReadModel } from '../../../../../projections/pipelines/pipelines.read-model.js';
import { PolicyOccurrenceReadModel } from '../../../../../projections/policy-occurrences/policy-occurrences.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, derivedId } from '../../../../lib/clock/clock.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { CommandRunner } from '../../../store/event-store/command-runner.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { Reconciler, type StepOutcome } from '../../../store/reconciler/reconciler.js';
import { backupIdOf } from '../../backups/model/backup-correlation.reader.js';
import { CancelBackup, StartBackup } from '../../backups/model/backup.commands.js';
import { DEFAULT_BACKUP_OPTIONS } from '../../backups/model/backup.events.js';
import type { CancelCode, OccurrenceBackupEnded, OccurrenceStarted } from '../model/occurrence.events.js';
import { OccurrenceRecorder } from '../model/occurrence.recorder.js';
import type { RunVm } from '../model/occurrence.state.js';
import { PipelineRecorder } from '../model/pipeline.recorder.js';
import { policyStream } from '../model/policy.events.js';
import { PolicyReader } from '../model/policy.reader.js';
import { policyHistory } from '../model/policy.state.js';
import { retryAt } from '../model/retry.plan.js';
import { closedBy } from '../model/start-window.plan.js';
import { planPipeline } from '../model/plan-pipeline.plan.js';
import { type AwaitedVm, cancelText, planCancellations, planOccurrence } from './run-occurrence.plan.js';

/** Requests under way at once, of all runs. Each is answered when the backup is queued or its exports are ready. */
const REQUESTS_AT_ONCE = 8;
/** Looks again on each minute: windows close then, and a timer does not notice that the clock was set or that the machine was suspended. */
const MINUTE_MS = 60_000;
const STOP_PATIENCE_MS = 1_000;
const ENDS: ReadonlySet<string> = new Set(['BackupCompleted', 'BackupFailed', 'BackupCancelled']);

type Run = OccurrenceStarted['data'];

/** Requests the backups of runs that have started, each at its time, and tries again those that failed for a reason that may pass. */
@Injectable()
export class RunOccurrenceReactor implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('RunOccurrence');
  private readonly requests = pLimit(REQUESTS_AT_ONCE);
  private readonly work = new Reconciler({ what: 'run of a policy', step: (id) => this.step(id), unfinished: () => this.unfinished() }, this.log);
  /** By backup, the run that awaits its end. */
  private readonly awaiting = new Map<string, string>();
  /** Of these, the backups that may have ended since they were last looked at: the others of a large run need not be read again. */
  private readonly unseen = new Set<string>();
  private events: Subscription | null = null;

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly runner: CommandRunner,
    private readonly recorder: OccurrenceRecorder,
    private readonly pipelines: PipelineRecorder,
    private readonly policies: PolicyReader,
    private readonly commands: CommandBus,
    private readonly clock: Clock,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('occurrence', 'backup').subscribe(({ stream, type }) => {
      const id = stream.slice(stream.indexOf('-') + 1);
      if (type === 'OccurrenceStarted' || type === 'OccurrenceCaughtUp') this.work.poke(id);
      const run = ENDS.has(type) ? this.awaiting.get(id) : undefined;
      if (run === undefined) return;
      this.unseen.add(id);
      this.work.wake(run);
    });
    this.work.start(this.feed.ready);
  }

  /** Does not wait long for requests under way, whose exports may take a minute: the next hub makes the same ones again. */
  async onModuleDestroy(): Promise<void> {
    this.events?.unsubscribe();
    await Promise.race([this.work.end(), pause(STOP_PATIENCE_MS, undefined, { ref: false })]);
  }

  private async step(occurrenceId: string): Promise<StepOutcome> {
    const { state } = await this.recorder.load(occurrenceId);
    if (state.status !== 'running') return 'done';
    const closed = this.closedFor(state.run);
    const plan = planOccurrence(state, this.clock.iso(), closed);
    if (plan.drop.length > 0 && closed !== null) {
      const dropped = { outcome: 'cancelled', code: closed, detail: cancelText(closed) } as const;
      for (const { vm_id, attempt } of plan.drop) await this.recordEnd(state.run, { vm_id, attempt, ...dropped });
      return 'progressed';
    }
    if (plan.request.length > 0) {
      await Promise.all(plan.request.map((vm) => this.requests(() => this.request(state.run, vm))));
      return 'progressed';
    }
    if (plan.is_over) {
      await this.recorder.record(occurrenceId, { kind: 'finish', finished_at: this.clock.iso() });
      return 'done';
    }
    const timeout_seconds = state.run.rules?.concurrency_timeout_seconds ?? null;
    const queued = await this.recordEnds(state.run, this.toLookAt(plan.awaited, state.run, closed !== null || timeout_seconds !== null));
    if (queued === null) return 'progressed';
    const { cancel, next_at } = planCancellations(plan.awaited, queued, { closed, timeout_seconds, now: this.clock.iso() });
    for (const vm of cancel) await this.cancel(state.run, vm);
    const wake = earlier(plan.next_at, next_at);
    const looksAgain = (state.run.rules?.run_within ?? null) !== null || wake !== null;
    return looksAgain ? { waitingMs: this.msUntil(wake) } : 'waiting';
  }

  private msUntil(at: string | null): number {
    const now = this.clock.now().getTime();
    const nextMinute = MINUTE_MS - (now % MINUTE_MS);
    return at === null ? nextMinute : Math.min(nextMinute, Math.max(0, Date.parse(at) - now));
  }

  /** Why the backups of a run may not run now; null: they may. */
  private closedFor({ rules, time_zone }: Run): CancelCode | null {
    const within = rules?.run_within ?? null;
    return within === null ? null : closedBy(this.clock.iso(), { ...within, time_zone });
  }

  /** The reason is recorded first, so that the end has it even if this hub is killed in between. */
  private async cancel({ occurrence_id }: Run, vm: AwaitedVm & { readonly reason: CancelCode }): Promise<void> {
    const { vm_id, attempt, backup_id, reason } = vm;
    if (vm.cancel === null) {
      const data = { vm_id, attempt, backup_id, reason, requested_at: this.clock.iso() };
      await this.recorder.record(occurrence_id, { kind: 'cancel_requested', data });
      this.log.warn('a policy has its backup cancelled', { occurrence_id, vm_id, backup_id, reason });
    }
    const context = await this.recorder.context(occurrence_id, derivedId(`occurrence/cancel/${backup_id}`));
    try {
      await this.commands.execute(new CancelBackup(backup_id, context));
    } catch (error) {
      // It has ended meanwhile, or is too far for that: then it completes.
      if (!(error instanceof DomainError) || error.kind === 'unavailable') throw error;
    }
  }

  private async request(run: Run, { vm_id, attempt }: RunVm): Promise<void> {
    this.work.ending.throwIfAborted();
    const { occurrence_id, repository_id, backup_type, policy_id, policy_version } = run;
    // Derived: a hub that was killed before it recorded the request requests the same backup again.
    const commandId = derivedId(`occurrence/${occurrence_id}/${vm_id}/${attempt}`);
    const context = await this.recorder.context(occurrence_id, commandId);
    const policy = { policy_id, version: policy_version };
    try {
      const backup_id = await this.commands.execute(new StartBackup({ vm_id }, repository_id, backup_type, policy, DEFAULT_BACKUP_OPTIONS, context));
      await this.recordRequest(run, { vm_id, attempt, backup_id });
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      const { backup_id } = error.facts;
      // The backup failed before its request was answered. An obstacle may name another restore point.
      if (backup_id === backupIdOf(commandId)) await this.recordRequest(run, { vm_id, attempt, backup_id });
      else await this.recordEnd(run, { vm_id, attempt, outcome: 'refused', code: error.code, detail: error.message });
    }
  }

  private async recordRequest(
    { occurrence_id }: Run,
    request: { readonly vm_id: string; readonly attempt: number; readonly backup_id: string },
  ): Promise<void> {
    await this.recorder.record(occurrence_id, { kind: 'backup_requested', data: { ...request, requested_at: this.clock.iso() } });
  }

  private async recordEnd(run: Run, ended: Omit<OccurrenceBackupEnded['data'], 'retry_at' | 'ended_at'>): Promise<void> {
    const ended_at = this.clock.iso();
    const { state } = await this.runner.load(policyStream(run.policy_id), policyHistory);
    const { attempt, code } = ended;
    const failed = { trigger: run.trigger, attempt, code: code ?? '', at: ended_at };
    const retry_at = code === null || state.status !== 'active' ? null : retryAt(failed, await this.policies.withBlackouts(state.settings));
    await this.recorder.record(run.occurrence_id, { kind: 'backup_ended', data: { ...ended, retry_at, ended_at } });
  }

  /** Those that have just been requested, and those that have ended since. @param all the rest too, because they may have to be cancelled */
  private toLookAt(awaited: readonly AwaitedVm[], { occurrence_id }: Run, all: boolean): readonly AwaitedVm[] {
    for (const { backup_id } of awaited) {
      if (this.awaiting.has(backup_id)) continue;
      this.awaiting.set(backup_id, occurrence_id);
      this.unseen.add(backup_id);
    }
    return all ? awaited : awaited.filter(({ backup_id }) => this.unseen.has(backup_id));
  }

  /** @returns the ids of those in the queue; null: at least one backup has ended */
  private async recordEnds(run: Run, awaited: readonly AwaitedVm[]): Promise<ReadonlySet<string> | null> {
    // Before they are read: one that ends meanwhile is looked at again.
    for (const { backup_id } of awaited) this.unseen.delete(backup_id);
    try {
      return await this.recordEndsOf(run, awaited);
    } catch (error) {
      for (const { backup_id } of awaited) if (this.awaiting.has(backup_id)) this.unseen.add(backup_id);
      throw error;
    }
  }

  private async recordEndsOf(run: Run, awaited: readonly AwaitedVm[]): Promise<ReadonlySet<string> | null> {
    if (awaited.length === 0) return new Set();
    await this.readModels.current('backups');
    const rows = await this.dataSource
      .getRepository(BackupReadModel)
      .find({ select: { backup_id: true, status: true, error: true }, where: { backup_id: In(awaited.map(({ backup_id }) => backup_id)) } });
    const byId = new Map(rows.map((row) => [row.backup_id, row]));
    let ended = false;
    for (const { vm_id, attempt, backup_id, cancel } of awaited) {
      const row = byId.get(backup_id);
      if (row === undefined || row.status === 'pending' || row.status === 'running') continue;
      const outcome = row.status === 'deleted' ? 'completed' : row.status;
      if (outcome === 'completed') await this.planPipeline(run, vm_id, backup_id);
      const why = outcome === 'cancelled' && cancel !== null ? { code: cancel, detail: cancelText(cancel) } : null;
      await this.recordEnd(run, { vm_id, attempt, outcome, code: why?.code ?? row.error?.code ?? null, detail: why?.detail ?? row.error?.detail ?? null });
      this.awaiting.delete(backup_id);
      ended = true;
    }
    return ended ? null : new Set(rows.flatMap(({ backup_id, status }) => (status === 'pending' ? [backup_id] : [])));
  }

  /** Before the end of the backup is recorded: a hub that was killed in between finds it planned. */
  private async planPipeline({ occurrence_id, policy_id, policy_version, due_at, rules }: Run, vm_id: string, backup_id: string): Promise<void> {
    const verification = rules?.verification ?? null;
    if (verification === null) return;
    await this.readModels.current('pipelines');
    const row = await this.dataSource.getRepository(PipelineReadModel).findOne({ where: { policy_id, vm_id }, order: { created_position: 'DESC' } });
    const previous = row === null ? null : { unverified: row.unverified, booted_due_at: row.booted_due_at?.toISOString() ?? null };
    const names = { backup_id, vm_id, policy_id, policy_version, occurrence_id, due_at };
    const data = { ...names, ...planPipeline(verification, previous, due_at), planned_at: this.clock.iso() };
    await this.pipelines.record(backup_id, { kind: 'plan', data });
  }

  private async unfinished(): Promise<readonly string[]> {
    await this.readModels.current('policy_occurrences');
    const where = { outcome: In(['started', 'caught_up']), finished_at: IsNull() };
    return (await this.dataSource.getRepository(PolicyOccurrenceReadModel).findBy(where)).map(({ occurrence_id }) => occurrence_id);
  }
}

function earlier(a: string | null, b: string | null): string | null {
  if (a === null || b === null) return a ?? b;
  return a < b ? a : b;
}
