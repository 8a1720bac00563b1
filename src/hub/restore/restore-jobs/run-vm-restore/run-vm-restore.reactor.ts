import { setTimeout as pause } from 'node:timers/promises';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import type { Subscription } from 'rxjs';
import { DataSource } from 'typeorm';
import { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import { unknownVariant } from '../../../../kernel/decider.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { messageOf } from '../../../../kernel/error-message.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { EventStoreUnavailableError } from '../../../store/event-store/event-store.port.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { ToolError } from '../../../../lib/process/tool-error.js';
import { VmRestoreRecorder } from '../model/record-vm-restore.recorder.js';
import type { KnownVmRestore } from '../model/vm-restore.state.js';
import { FollowNode } from './follow-node.step.js';
import { PublishDisks } from './publish-disks.step.js';
import { planVmRestore } from './run-vm-restore.plan.js';
import { VerifySources } from './verify-sources.step.js';

const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 30_000;

/** Runs all VM restores independently of each other. At start it resumes those of an earlier run; its state in memory can always be rebuilt. */
@Injectable()
export class RunVmRestoreReactor implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('RunVmRestore');
  private readonly driven = new Map<string, { readonly stop: AbortController; readonly done: Promise<void>; again: boolean }>();
  private readonly shutdown = new AbortController();
  private events: Subscription | null = null;
  private recovery: Promise<void> = Promise.resolve();

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
      if (event.type === 'VmRestoreRequested' || event.type === 'InstantVmGivenUp') this.drive(jobId);
      if (event.type === 'VmRestoreCancelled') this.driven.get(jobId)?.stop.abort(new Error('the restore was cancelled'));
    });
    this.recovery = this.recover();
  }

  /** Earliest phase of a shutdown: dependencies still work, so their shutdown is not mistaken for a failure. */
  async onModuleDestroy(): Promise<void> {
    this.events?.unsubscribe();
    this.shutdown.abort(new Error('the hub is shutting down'));
    await this.recovery;
    await Promise.all([...this.driven.values()].map(({ done }) => done));
  }

  private ending(): boolean {
    return this.shutdown.signal.aborted;
  }

  /** A job already being driven is driven once more afterwards. */
  private drive(jobId: string): void {
    if (this.ending()) return;
    const known = this.driven.get(jobId);
    if (known !== undefined) {
      known.again = true;
      return;
    }
    const stop = new AbortController();
    const done = this.run(jobId, stop.signal).finally(() => {
      const again = this.driven.get(jobId)?.again === true;
      this.driven.delete(jobId);
      if (again) this.drive(jobId);
    });
    this.driven.set(jobId, { stop, done, again: false });
  }

  private async run(jobId: string, cancelled: AbortSignal): Promise<void> {
    let retryMs = RETRY_FIRST_MS;
    while (!this.ending()) {
      try {
        if (await this.step(jobId, cancelled)) return;
        retryMs = RETRY_FIRST_MS;
      } catch (error) {
        if (this.ending()) return;
        this.log.warn('a step of a VM restore failed, retrying', { job_id: jobId, error });
        await pause(retryMs, undefined, { signal: this.shutdown.signal }).catch(() => undefined);
        retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
      }
    }
  }

  /** @returns true when nothing is left to do */
  private async step(jobId: string, cancelled: AbortSignal): Promise<boolean> {
    const { state } = await this.recorder.load(jobId);
    if (state.status === 'none') return true;
    const work = planVmRestore(state);
    switch (work) {
      case 'finished':
      case 'stand':
        return true;
      case 'clean_up':
        await this.node.settle(state);
        await this.publishing.withdraw(state);
        await this.recorder.record(jobId, { kind: 'cleaned_up', at: this.clock.iso() });
        return false;
      case 'send':
        await this.recorder.record(jobId, { kind: 'sent', at: this.clock.iso() });
        return false;
      case 'publish_disks':
      case 'follow':
        try {
          if (work === 'publish_disks') await this.publish(state, AbortSignal.any([cancelled, this.shutdown.signal]));
          else await this.follow(state, AbortSignal.any([cancelled, this.shutdown.signal]));
        } catch (error) {
          if (this.ending() || error instanceof EventStoreUnavailableError) throw error;
          // Records nothing if the restore was cancelled in the meantime.
          await this.recorder.record(jobId, { kind: 'failed', ...causeOf(error), at: this.clock.iso() });
        }
        return false;
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

  private async recover(): Promise<void> {
    await this.feed.ready;
    while (!this.ending()) {
      try {
        await this.readModels.current('restore_jobs');
        for (const { job_id } of await this.dataSource.getRepository(RestoreJobReadModel).findBy({ kind: 'vm', cleaned_up: false })) this.drive(job_id);
        return;
      } catch (error) {
        this.log.warn('VM restores of an earlier run cannot be resumed yet, retrying', { error });
        await pause(RETRY_FIRST_MS, undefined, { signal: this.shutdown.signal }).catch(() => undefined);
      }
    }
  }
}

function causeOf(error: unknown): { readonly code: string; readonly detail: string } {
  if (error instanceof DomainError || error instanceof ToolError) return { code: error.code, detail: error.message };
  return { code: 'internal_error', detail: messageOf(error) };
}
