import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import type { Subscription } from 'rxjs';
import { DataSource } from 'typeorm';
import { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import { unknownVariant } from '../../../../kernel/decider.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { Reconciler, type StepOutcome } from '../../../store/reconciler/reconciler.js';
import { causeOf, isStorageAway } from '../../../store/reconciler/step-failure.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { VmRestoreRecorder } from '../model/record-vm-restore.recorder.js';
import type { KnownVmRestore } from '../model/vm-restore.state.js';
import { FollowNode } from './follow-node.step.js';
import { PublishDisks } from './publish-disks.step.js';
import { planVmRestore } from './run-vm-restore.plan.js';
import { VerifySources } from './verify-sources.step.js';

/** Reconciler of VM restores, which run independently of each other. */
@Injectable()
export class RunVmRestoreReactor implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('RunVmRestore');
  private readonly work = new Reconciler(
    { what: 'VM restore', step: (jobId, stopped) => this.step(jobId, stopped), unfinished: () => this.unfinished() },
    this.log,
  );
  private events: Subscription | null = null;

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly recorder: VmRestoreRecorder,
    private readonly publishing: PublishDisks,
    private readonly sources: VerifySources,
    private readonly node: FollowNode,
    private readonly clock: Clock,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('vmRestore').subscribe((event) => {
      const jobId = event.stream.slice(event.stream.indexOf('-') + 1);
      if (event.type === 'VmRestoreRequested' || event.type === 'InstantVmGivenUp') this.work.poke(jobId);
      if (event.type === 'VmRestoreCancelled') this.work.stop(jobId, 'the restore was cancelled');
    });
    this.work.start(this.feed.ready);
  }

  /** Earliest phase of a shutdown: dependencies still work, so their shutdown is not mistaken for a failure. */
  async onModuleDestroy(): Promise<void> {
    this.events?.unsubscribe();
    await this.work.end();
  }

  private async step(jobId: string, stopped: AbortSignal): Promise<StepOutcome> {
    const { state } = await this.recorder.load(jobId);
    if (state.status === 'none') return 'done';
    const work = planVmRestore(state);
    switch (work) {
      case 'finished':
      case 'stand':
        return 'done';
      case 'clean_up':
        await this.node.settle(state);
        await this.publishing.withdraw(state);
        await this.recorder.record(jobId, { kind: 'cleaned_up', at: this.clock.iso() });
        return 'progressed';
      case 'send':
        await this.recorder.record(jobId, { kind: 'sent', at: this.clock.iso() });
        return 'progressed';
      case 'publish_disks':
      case 'follow':
        try {
          if (work === 'publish_disks') await this.publish(state, stopped);
          else await this.follow(state, stopped);
        } catch (error) {
          if (this.work.isStopping() || isStorageAway(error)) throw error;
          // Records nothing if the restore was cancelled in the meantime.
          await this.recorder.record(jobId, { kind: 'failed', ...causeOf(error), at: this.clock.iso() });
        }
        return 'progressed';
      default:
        return unknownVariant('work of a VM restore', work);
    }
  }

  private async publish(state: KnownVmRestore, signal: AbortSignal): Promise<void> {
    await this.sources.prove(state.job, signal);
    await this.publishing.publish(state);
  }

  /** Hashes the source files while the node copies. Damage fails the restore unless the job allows it. */
  private async follow(state: KnownVmRestore, signal: AbortSignal): Promise<void> {
    const giveUp = new AbortController();
    const both = AbortSignal.any([signal, giveUp.signal]);
    const verified = state.job.mode === 'instant' || state.sources_checked ? Promise.resolve() : this.sources.verify(state.job, both);
    const made = this.node.follow(state, verified, both);
    verified.catch((error: unknown) => giveUp.abort(error));
    made.catch((error: unknown) => giveUp.abort(error));
    const [ofSources, ofNode] = await Promise.allSettled([verified, made]);
    if (ofSources.status === 'rejected') throw ofSources.reason;
    if (ofNode.status === 'rejected') throw ofNode.reason;
  }

  private async unfinished(): Promise<readonly string[]> {
    await this.readModels.current('restore_jobs');
    return (await this.dataSource.getRepository(RestoreJobReadModel).findBy({ kind: 'vm', cleaned_up: false })).map(({ job_id }) => job_id);
  }
}
