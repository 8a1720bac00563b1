import { setTimeout as pause } from 'node:timers/promises';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import type { Subscription } from 'rxjs';
import { DataSource } from 'typeorm';
import { RestoreJobReadModel } from '../../../projections/restore-jobs/restore-jobs.read-model.js';
import { unknownVariant } from '../../kernel/decider.js';
import { DomainError } from '../../kernel/domain-error.js';
import { Clock } from '../../platform/clock/clock.js';
import { EventFeed } from '../../platform/event-store/event-feed.js';
import { EventStore, EventStoreUnavailableError } from '../../platform/event-store/event-store.port.js';
import { loggerFor } from '../../platform/logging/logger.js';
import { ReadModels } from '../../platform/postgres/read-models.js';
import { ToolError } from '../../platform/process/tool-error.js';
import { MakeDisks } from './make-disks.step.js';
import { PublishFiles } from './publish-files.step.js';
import { RestoreRecorder } from './record-restore.recorder.js';
import { planRestore } from './run-restore.plan.js';

const RECOVERY_PATIENCE_MS = 30_000;
const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 30_000;

/** Runs all restore jobs, each on its own. At start it takes up those that an earlier hub left; what it remembers is only what can be read again. */
@Injectable()
export class RunRestoreReactor implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('RunRestore');
  private readonly driven = new Map<string, { readonly stop: AbortController; readonly done: Promise<void> }>();
  private readonly shutdown = new AbortController();
  private events: Subscription | null = null;
  private recovery: Promise<void> = Promise.resolve();

  constructor(
    private readonly feed: EventFeed,
    private readonly store: EventStore,
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
      if (event.type === 'RestoreJobRequested') this.drive(jobId);
      if (event.type === 'RestoreJobCancelled') this.driven.get(jobId)?.stop.abort(new Error('the restore was cancelled'));
    });
    this.recovery = this.recover();
  }

  /** The earliest phase of a shutdown: what the steps use is still there, and is not mistaken for broken when it goes. */
  async onModuleDestroy(): Promise<void> {
    this.events?.unsubscribe();
    this.shutdown.abort(new Error('the hub is shutting down'));
    await this.recovery;
    await Promise.all([...this.driven.values()].map(({ done }) => done));
  }

  private ending(): boolean {
    return this.shutdown.signal.aborted;
  }

  private drive(jobId: string): void {
    if (this.driven.has(jobId) || this.ending()) return;
    const stop = new AbortController();
    const done = this.run(jobId, stop.signal).finally(() => this.driven.delete(jobId));
    this.driven.set(jobId, { stop, done });
  }

  private async run(jobId: string, cancelled: AbortSignal): Promise<void> {
    let retryMs = RETRY_FIRST_MS;
    while (!this.ending()) {
      try {
        if (await this.step(jobId, cancelled)) return;
        retryMs = RETRY_FIRST_MS;
      } catch (error) {
        if (this.ending()) return;
        this.log.warn('a restore job could not be brought forward; trying again', { job_id: jobId, error });
        await pause(retryMs, undefined, { signal: this.shutdown.signal }).catch(() => undefined);
        retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
      }
    }
  }

  /** @returns true when the job is through with everything */
  private async step(jobId: string, cancelled: AbortSignal): Promise<boolean> {
    const state = await this.recorder.load(jobId);
    if (state.status === 'none') return true;
    const step = planRestore(state);
    switch (step) {
      case 'finished':
        return true;
      case 'clean_up':
        await this.publishing.cleanUp(state);
        return false;
      case 'make_disks':
      case 'publish':
        try {
          if (step === 'publish') await this.publishing.publish(state);
          else await this.making.make(state, AbortSignal.any([cancelled, this.shutdown.signal]));
        } catch (error) {
          if (this.ending() || error instanceof EventStoreUnavailableError) throw error;
          // A job that was cancelled meanwhile is not failed: then this records nothing.
          await this.recorder.record(jobId, { kind: 'failed', ...causeOf(error), at: this.clock.iso() });
        }
        return false;
      default:
        return unknownVariant('step of a restore job', step);
    }
  }

  private async recover(): Promise<void> {
    await this.feed.ready;
    while (!this.ending()) {
      try {
        const head = await this.store.head();
        if (head !== null) await this.readModels.waitFor(head, RECOVERY_PATIENCE_MS, 'restore_jobs');
        for (const { job_id } of await this.dataSource.getRepository(RestoreJobReadModel).findBy({ kind: 'disks', cleaned_up: false })) this.drive(job_id);
        return;
      } catch (error) {
        this.log.warn('restore jobs of an earlier run of the hub cannot be taken up yet; trying again', { error });
        await pause(RETRY_FIRST_MS, undefined, { signal: this.shutdown.signal }).catch(() => undefined);
      }
    }
  }
}

function causeOf(error: unknown): { readonly code: string; readonly detail: string } {
  if (error instanceof DomainError || error instanceof ToolError) return { code: error.code, detail: error.message };
  return { code: 'internal_error', detail: error instanceof Error ? error.message : String(error) };
}
