import { join, normalize, relative } from 'node:path';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import pLimit, { type LimitFunction } from 'p-limit';
import type { Subscription } from 'rxjs';
import { DataSource, In } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { KeyedMutex, vmLock } from '../../../../lib/concurrency/keyed-mutex.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { ToolError } from '../../../../lib/process/tool-error.js';
import { RestorePointCopier } from '../../../../storage/copying/restore-point-copier.js';
import type { Manifest } from '../../../../storage/repository-files/manifest.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { rethrowSilence } from '../../../../storage/repository-files/storage-error.js';
import { lockedFrom } from '../../../../storage/repository-files/lock-end.plan.js';
import { MarkRestorePointDamaged } from '../../../backup/chains/model/chain.commands.js';
import { HubConfig } from '../../../hub.config.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { Reconciler, type StepOutcome } from '../../../store/reconciler/reconciler.js';
import { causeOf, isStorageAway } from '../../../store/reconciler/step-failure.js';
import { StorageWorkers } from '../../repository-storage/storage-workers.js';
import { CopyProgress } from '../model/copy-progress.registry.js';
import type { CopiedDisk, CopyPlanned, CopyRequested } from '../model/copy.events.js';
import { CopyRecorder } from '../model/copy.recorder.js';
import type { KnownCopy } from '../model/copy.state.js';
import { formOfCopy, isCopyGivenUp, nextCopyWork, type ParentAtTarget } from './run-copy.plan.js';

/** How often a copy that waits for its parent's looks again, in case it missed the event. */
const WAITING_MS = 5_000;

type Plan = CopyPlanned['data'];

/** Copies restore points, one at a time into each repository: two would only make the storage seek, and share the bandwidth. */
@Injectable()
export class RunCopyReactor implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('RunCopy');
  private readonly work = new Reconciler(
    { what: 'copy', step: (copyId, stopped) => this.step(copyId, stopped), unfinished: () => this.unfinished() },
    this.log,
  );
  private readonly turns = new Map<string, LimitFunction>();
  /** Copies that have copied something since the hub started or since they were last interrupted. */
  private readonly progressed = new Set<string>();
  private events: Subscription | null = null;

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly recorder: CopyRecorder,
    private readonly progress: CopyProgress,
    private readonly commands: CommandBus,
    private readonly copier: RestorePointCopier,
    private readonly files: RepositoryFiles,
    private readonly workers: StorageWorkers,
    private readonly config: HubConfig,
    private readonly mutex: KeyedMutex,
    private readonly clock: Clock,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('copy').subscribe(({ type, stream }) => {
      const copyId = stream.slice(stream.indexOf('-') + 1);
      if (type === 'CopyRequested' || type === 'CopyDeleted') this.work.poke(copyId);
      if (type === 'CopyCancelled') {
        this.work.stop(copyId, 'the copy was cancelled');
        this.work.poke(copyId);
      }
      if (type === 'CopyCompleted' || type === 'CopyFailed' || type === 'CopyCancelled') void this.wakeWaiting();
    });
    this.work.start(this.feed.ready);
  }

  async onModuleDestroy(): Promise<void> {
    this.events?.unsubscribe();
    await this.work.end();
  }

  private async step(copyId: string, stopped: AbortSignal): Promise<StepOutcome> {
    const { state } = await this.recorder.load(copyId);
    if (state.status === 'none') return 'done';
    switch (nextCopyWork(state)) {
      case 'nothing':
        return 'done';
      case 'plan':
        return this.attempt(state, stopped, () => this.plan(state));
      case 'transfer':
        return this.attempt(state, stopped, () => this.transfer(state, stopped));
      case 'seal':
        return this.attempt(state, stopped, () => this.seal(state));
      case 'remove_partial':
        return this.removePartial(state);
      case 'remove_files':
        return this.removeFiles(state);
    }
  }

  private async attempt(state: KnownCopy, stopped: AbortSignal, work: () => Promise<StepOutcome>): Promise<StepOutcome> {
    const { copy_id } = state.request;
    try {
      return await work();
    } catch (error) {
      // The next step sees that it was cancelled.
      if (stopped.aborted) return 'progressed';
      if (isStorageAway(error)) throw error;
      const { code, detail } = causeOf(error);
      const progressed = this.progressed.delete(copy_id);
      const lasting = state.interrupted?.code === code && !progressed ? Date.parse(state.interrupted.interrupted_at) : null;
      const trouble = {
        passing: mayPass(error),
        since_ms: lasting,
        now_ms: this.clock.now().getTime(),
        patience_ms: this.config.copyPatienceSeconds * 1_000,
      };
      if (isCopyGivenUp(trouble)) {
        await this.markSource(state, error);
        await this.recorder.record(copy_id, { kind: 'failed', code, detail, at: this.clock.iso() });
        this.log.warn('a copy failed', { copy_id, backup_id: state.request.backup_id, code, detail });
        return 'progressed';
      }
      await this.recorder.record(copy_id, { kind: 'interrupted', code, detail, at: this.clock.iso(), progressed });
      if (lasting === null) this.log.warn('a copy was interrupted and is tried again', { copy_id, code, detail, error });
      return 'retry';
    }
  }

  /** Under the VM's lock, so that neither the parent's copy nor the source is deleted between the look and the record. */
  private async plan(state: KnownCopy): Promise<StepOutcome> {
    const { request } = state;
    await this.files.checkAvailable(request.repository_id, request.repository_path);
    return this.mutex.runExclusive(vmLock(request.vm_id), async () => {
      await this.readModels.current('backups', 'copies');
      const backup = await this.dataSource.getRepository(BackupReadModel).findOneBy({ backup_id: request.backup_id });
      if (backup?.status !== 'completed' || backup.folder === null) {
        throw new DomainError('gone', 'restore_point_deleted', `Restore point ${request.backup_id} was deleted before it was copied.`);
      }
      await this.files.checkPresent(request.source_repository_id, request.source_repository_path);
      const { stored, sha256 } = await this.files.readManifestAndHash(request.source_repository_path, backup.folder);
      if (stored.rewriting !== undefined) return { waitingMs: WAITING_MS };
      const form = formOfCopy(stored.parent === null ? null : await this.parentAtTarget(request, stored.parent.backup_id));
      if (form === 'wait') return { waitingMs: WAITING_MS };
      const data: Plan = {
        form,
        folder: backup.folder,
        parent_backup_id: form === 'identical' ? (stored.parent?.backup_id ?? null) : null,
        source_manifest_sha256: sha256,
        total_bytes: stored.disks.reduce((sum, disk) => sum + disk.file_size_bytes, 0),
        planned_at: this.clock.iso(),
      };
      await this.recorder.record(request.copy_id, { kind: 'planned', data });
      return 'progressed';
    });
  }

  private async parentAtTarget({ repository_id }: CopyRequested['data'], backupId: string): Promise<ParentAtTarget> {
    const copies = await this.dataSource
      .getRepository(CopyReadModel)
      .findBy({ backup_id: backupId, repository_id, status: In(['pending', 'running', 'completed']) });
    if (copies.some(({ status, damage }) => status === 'completed' && damage === null)) return 'complete';
    return copies.some(({ status }) => status !== 'completed') ? 'under_way' : 'absent';
  }

  private async transfer(state: KnownCopy, stopped: AbortSignal): Promise<StepOutcome> {
    const { request, plan } = state;
    if (plan === null) throw new Error(`copy ${request.copy_id} runs without a plan`);
    return this.turnAt(request.repository_id)(async () => {
      stopped.throwIfAborted();
      try {
        return await this.copyFiles(request, plan, stopped);
      } catch (error) {
        if (error instanceof DomainError && error.code === 'source_rewritten') return await this.plan(state);
        throw error;
      } finally {
        this.progress.end(request.copy_id);
      }
    });
  }

  private async copyFiles(request: CopyRequested['data'], plan: Plan, stopped: AbortSignal): Promise<StepOutcome> {
    const { copy_id, source_repository_path: sourcePath, repository_path: targetPath } = request;
    await this.files.checkPresent(request.source_repository_id, sourcePath);
    await this.files.checkAvailable(request.repository_id, targetPath);
    const onProgress = (bytes: number): void => {
      if (bytes > 0) this.progressed.add(copy_id);
      this.progress.set(copy_id, bytes);
    };
    this.progress.set(copy_id, 0);
    const copied = await this.workers
      .whileTheyAnswer(
        [sourcePath, targetPath],
        (signal) =>
          this.copier.transfer({
            sourcePath,
            targetPath,
            folder: plan.folder,
            backupId: request.backup_id,
            manifestSha256: plan.source_manifest_sha256,
            flatten: plan.form === 'flattened',
            bytesPerSecond: request.bandwidth_limit_bps,
            at: this.clock.iso(),
            signal,
            onProgress,
          }),
        stopped,
      )
      .catch((error: unknown) => rethrowSilence(error, sourcePath))
      .catch((error: unknown) => rethrowSilence(error, targetPath));
    const data = {
      manifest_sha256: copied.manifest_sha256,
      disks: disksOf(plan.folder, copied.manifest),
      written_bytes: copied.written_bytes,
      kept_bytes: copied.kept_bytes,
      verified_at: this.clock.iso(),
    };
    await this.recorder.record(copy_id, { kind: 'verified', data });
    return 'progressed';
  }

  private async seal({ request, plan, verified }: KnownCopy): Promise<StepOutcome> {
    if (plan === null || verified === null) throw new Error(`copy ${request.copy_id} is to be sealed without files`);
    await this.files.checkAvailable(request.repository_id, request.repository_path);
    await this.copier.seal(request.repository_path, plan.folder, verified.manifest_sha256);
    const now = this.clock.now();
    const days = await this.immutableDays(request.repository_id);
    await this.recorder.record(request.copy_id, { kind: 'completed', at: now.toISOString(), locked_until: lockedFrom(now.getTime(), days) });
    this.log.info('a restore point was copied', {
      copy_id: request.copy_id,
      backup_id: request.backup_id,
      repository_id: request.repository_id,
      form: plan.form,
    });
    return 'progressed';
  }

  private async immutableDays(repository_id: string): Promise<number> {
    await this.readModels.current('repositories');
    return (await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id }))?.immutability_days ?? 0;
  }

  /** A hub killed after sealing may have left a restore point that no event completes. */
  private async removePartial({ request, plan, verified }: KnownCopy): Promise<StepOutcome> {
    if (plan !== null) {
      await this.files.checkAvailable(request.repository_id, request.repository_path);
      await this.turnAt(request.repository_id)(async () => {
        if (verified !== null) await this.files.removeRestorePoint(request.repository_path, plan.folder);
        await this.files.removePartial(request.repository_path, plan.folder);
      });
    }
    await this.recorder.record(request.copy_id, { kind: 'removed', at: this.clock.iso() });
    return 'done';
  }

  private async removeFiles({ request, plan }: KnownCopy): Promise<StepOutcome> {
    await this.files.checkAvailable(request.repository_id, request.repository_path);
    if (plan !== null) await this.files.removeRestorePoint(request.repository_path, plan.folder);
    await this.recorder.record(request.copy_id, { kind: 'removed', at: this.clock.iso() });
    return 'done';
  }

  /** Marks a source as damaged if its content differs from what was sealed, as a verification would. */
  private async markSource({ request }: KnownCopy, error: unknown): Promise<void> {
    if (!(error instanceof DomainError) || !['source_altered', 'restore_point_damaged'].includes(error.code)) return;
    const { damaged_backup_id, file, path } = error.facts;
    const damaged = typeof damaged_backup_id === 'string' ? damaged_backup_id : request.backup_id;
    const at = typeof file === 'string' ? file : typeof path === 'string' ? relative(request.source_repository_path, path) : null;
    if (at === null) return;
    const finding = { code: 'parent_altered', detail: error.message, file: at, verification_id: null } as const;
    await this.commands.execute(new MarkRestorePointDamaged(request.chain_id, damaged, finding, await this.recorder.context(request.copy_id)));
  }

  private turnAt(repositoryId: string): LimitFunction {
    const turn = this.turns.get(repositoryId) ?? pLimit(1);
    this.turns.set(repositoryId, turn);
    return turn;
  }

  private async wakeWaiting(): Promise<void> {
    try {
      await this.readModels.current('copies');
      for (const { copy_id } of await this.dataSource.getRepository(CopyReadModel).findBy({ status: 'pending' })) this.work.wake(copy_id);
    } catch (error) {
      // They look again by themselves.
      if (!this.work.isStopping()) this.log.debug('could not wake the copies that wait for another one', { error });
    }
  }

  private async unfinished(): Promise<readonly string[]> {
    await this.readModels.current('copies');
    const open = await this.dataSource.getRepository(CopyReadModel).find({
      where: [{ status: In(['pending', 'running']) }, { status: In(['failed', 'cancelled', 'deleted']), removed: false }],
      order: { created_position: 'ASC' },
    });
    return open.map(({ copy_id }) => copy_id);
  }
}

/** Whether another attempt may end otherwise. An error of no known kind may: patience ends too. */
function mayPass(error: unknown): boolean {
  if (error instanceof ToolError) return error.retryable || error.endedBy !== null;
  return !(error instanceof DomainError) || error.kind === 'unavailable' || error.kind === 'storage_full';
}

function disksOf(folder: string, manifest: Manifest): readonly CopiedDisk[] {
  return manifest.disks.map((disk) => ({
    disk_id: disk.disk_id,
    disk_key: disk.disk_key,
    virtual_size_bytes: disk.virtual_size_bytes,
    file: disk.file,
    parent_file: disk.backing_file === null ? null : normalize(join(folder, disk.backing_file)),
    size_bytes: disk.file_size_bytes,
    sha256: disk.sha256,
  }));
}
