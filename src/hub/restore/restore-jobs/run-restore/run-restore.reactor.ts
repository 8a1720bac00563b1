import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import type { Subscription } from 'rxjs';
import { DataSource } from 'typeorm';
import { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import { unknownVariant } from '../../../../kernel/decider.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { Reconciler, type StepOutcome } from '../../../store/reconciler/reconciler.js';
import { causeOf, isStorageAway } from '../../../store/reconciler/step-failure.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { MakeDisks } from './make-disks.step.js';
import { PublishFiles } from './publish-files.step.js';
import { RestoreRecorder } from './record-restore.recorder.js';
import { planRestore } from './run-restore.plan.js';

/** Runs all restore jobs independently of each other. At start it resumes those of an earlier run; its state in memory can always be rebuilt. */
@Injectable()
export class RunRestoreReactor implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('RunRestore');
  private readonly work = new Reconciler(
    { what: 'restore job', step: (jobId, stopped) => this.step(jobId, stopped), unfinished: () => this.unfinished() },
    this.log,
  );
  private events: Subscription | null = null;

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly recorder: RestoreRecorder,
    private readonly making: MakeDisks,
    private readonly publishing: PublishFiles,
    private readonly clock: Clock,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('restoreJob').subscribe((event) => {
      const jobId = event.stream.slice(event.stream.indexOf('-') + 1);
      if (event.type === 'RestoreJobRequested') this.work.poke(jobId);
      if (event.type === 'RestoreJobCancelled') this.work.stop(jobId, 'the restore was cancelled');
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
    const step = planRestore(state);
    switch (step) {
      case 'finished':
        return 'done';
      case 'clean_up':
        await this.publishing.cleanUp(state);
        return 'progressed';
      case 'make_disks':
      case 'publish':
        try {
          if (step === 'publish') await this.publishing.publish(state);
          else await this.making.make(state, stopped);
        } catch (error) {
          if (this.work.isStopping() || isStorageAway(error)) throw error;
          // Records nothing if the job was cancelled in the meantime.
          await this.recorder.record(jobId, { kind: 'failed', ...causeOf(error), at: this.clock.iso() });
        }
        return 'progressed';
      default:
        return unknownVariant('step of a restore job', step);
    }
  }

  private async unfinished(): Promise<readonly string[]> {
    await this.readModels.current('restore_jobs');
    return (await this.dataSource.getRepository(RestoreJobReadModel).findBy({ kind: 'disks', cleaned_up: false })).map(({ job_id }) => job_id);
  }
}
