import { dirname, join, normalize } from 'node:path';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import pLimit from 'p-limit';
import type { Subscription } from 'rxjs';
import { DataSource } from 'typeorm';
import { ChainReadModel } from '../../../../../projections/chains/chains.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { KeyedMutex, vmLock } from '../../../../lib/concurrency/keyed-mutex.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { ToolError } from '../../../../lib/process/tool-error.js';
import type { PruneStep } from '../../../../storage/pruning/prune-chains.plan.js';
import { type PreparedRewrite, RestorePointRewriter } from '../../../../storage/pruning/restore-point-rewriter.js';
import type { Manifest, ManifestDisk } from '../../../../storage/repository-files/manifest.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { rethrowSilence } from '../../../../storage/repository-files/storage-error.js';
import { StorageWorkers } from '../../../repositories/repository-storage/storage-workers.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { Reconciler, type StepOutcome } from '../../../store/reconciler/reconciler.js';
import { causeOf, isStorageAway } from '../../../store/reconciler/step-failure.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { DeleteBackup } from '../../backups/model/backup.commands.js';
import { MarkRestorePointDamaged } from '../model/chain.commands.js';
import type { RewrittenPoint } from '../model/chain.events.js';
import type { ChainState } from '../model/chain.state.js';
import { type PrunableChain, PrunableChains, refuseLocked } from '../model/prunable-chain.reader.js';
import { PruningRecorder } from '../model/pruning.recorder.js';

type OpenChain = Extract<ChainState, { status: 'open' }>;

/** How often a pruning that waits for readers looks again. */
const BUSY_MS = 5_000;

/**
 * Removes the restore points that are to be pruned, one step of the plan after another. The plan is made again before each step, from what is there; one chain at a
 * time, because two would only make the storage seek.
 */
@Injectable()
export class RunPruningReactor implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('RunPruning');
  private readonly oneAtATime = pLimit(1);
  private readonly work = new Reconciler(
    {
      what: 'pruning of a chain',
      step: (chainId, stopped) => this.oneAtATime(() => this.step(chainId, stopped)),
      unfinished: () => this.unfinished(),
    },
    this.log,
  );
  private events: Subscription | null = null;

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly recorder: PruningRecorder,
    private readonly chains: PrunableChains,
    private readonly rewriter: RestorePointRewriter,
    private readonly files: RepositoryFiles,
    private readonly workers: StorageWorkers,
    private readonly commands: CommandBus,
    private readonly mutex: KeyedMutex,
    private readonly clock: Clock,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('chain').subscribe(({ type, stream }) => {
      const chainId = stream.slice(stream.indexOf('-') + 1);
      if (type === 'PruningRequested') this.work.poke(chainId);
      if (type === 'RestorePointRemoved') this.work.wake(chainId);
    });
    this.work.start(this.feed.ready);
  }

  async onModuleDestroy(): Promise<void> {
    this.events?.unsubscribe();
    await this.work.end();
  }

  private async step(chainId: string, stopped: AbortSignal): Promise<StepOutcome> {
    stopped.throwIfAborted();
    const { state } = await this.recorder.load(chainId);
    if (state.status === 'none' || (state.pruning.length === 0 && state.rewriting === null)) return 'done';
    const found = await this.chains.find(chainId);
    if (found === null) return 'retry';
    await this.files.checkAvailable(found.chain.repository_id, found.repositoryPath);
    if (state.rewriting !== null && (await this.settle(state, found, state.rewriting))) return 'progressed';
    try {
      refuseWithdrawn(state, found);
      this.refuseLocked(state.pruning, found);
      const plan = await this.chains.plan(found, state.pruning);
      const [next] = plan.steps;
      if (next !== undefined) return await this.perform(state, found, next, stopped);
      const [left] = plan.left;
      // A deleted restore point leaves its chain when its files are removed.
      if (left === undefined) return 'waiting';
      throw new DomainError(
        'conflict',
        'restore_point_needed',
        `Restore point ${left.backup_id} stays, because ${left.needed_by} depends on it, and cannot be made independent because it is damaged or locked. Delete ${left.needed_by} first.`,
        left,
      );
    } catch (error) {
      if (stopped.aborted || isStorageAway(error) || !isFinal(error)) throw error;
      await this.undo(state, found);
      await this.markDamaged(chainId, error);
      const { code, detail } = causeOf(error);
      await this.recorder.record(chainId, { kind: 'failed', code, detail, at: this.clock.iso() });
      this.log.warn('pruning a chain failed; its restore points are as they were', { chain_id: chainId, code, detail });
      return 'progressed';
    }
  }

  private async perform(state: OpenChain, found: PrunableChain, next: PruneStep, stopped: AbortSignal): Promise<StepOutcome> {
    const busy = await this.chains.usedBy(found);
    if (busy !== null) {
      this.log.info('a pruning waits for what uses the chain', { chain_id: found.chain.chain_id, used_by: busy });
      return { waitingMs: BUSY_MS };
    }
    if (next.kind === 'drop') {
      const onlyExpired = state.pruning_expired.includes(next.backup_id);
      await this.commands.execute(new DeleteBackup(next.backup_id, await this.recorder.context(found.chain.chain_id), onlyExpired));
      return 'progressed';
    }
    const { repositoryPath } = found;
    const folder = found.backups.get(next.backup_id)?.folder ?? '';
    const parentBackupId = next.kind === 'absorb' ? next.parent_backup_id : null;
    this.log.info('rewriting a restore point, so that others can go', { backup_id: next.backup_id, operation: next.kind, merged: next.merged });
    const prepared = await this.workers
      .whileTheyAnswer([repositoryPath], (signal) => this.rewriter.prepare({ repositoryPath, folder, parentBackupId, at: this.clock.iso(), signal }), stopped)
      .catch((error: unknown) => rethrowSilence(error, repositoryPath));
    if (prepared === null) throw new Error(`restore point ${next.backup_id} has that parent already, but no event says so`);
    return (await this.swap(state, found, prepared, next.backup_id)) ? 'progressed' : { waitingMs: BUSY_MS };
  }

  /** Under the VM's lock, so that nothing that reads the old files is requested meanwhile. @returns whether nothing used the chain */
  private async swap(state: OpenChain, found: PrunableChain, prepared: PreparedRewrite, backupId: string): Promise<boolean> {
    const { chain_id } = found.chain;
    return this.mutex.runExclusive(vmLock(state.vm_id), async () => {
      if ((await this.chains.usedBy(found)) !== null) return false;
      // A backup that was based on it meanwhile has locked it too.
      const current = await this.chains.find(chain_id);
      if (current !== null) this.refuseLocked([backupId], current);
      const { stored } = await this.files.readManifestAndHash(found.repositoryPath, prepared.folder);
      const point = pointOf(prepared.folder, backupId, stored.disks, prepared.rewriting);
      await this.recorder.record(chain_id, { kind: 'rewrite_started', point, at: this.clock.iso() });
      const { manifest_sha256 } = await this.rewriter.swap(prepared);
      await this.recorder.record(chain_id, { kind: 'rewritten', point, manifest_sha256, at: this.clock.iso() });
      await this.readModels.current('backups', 'chains');
      return true;
    });
  }

  private refuseLocked(backupIds: readonly string[], { backups }: PrunableChain): void {
    for (const backupId of backupIds) {
      const backup = backups.get(backupId);
      if (backup !== undefined) refuseLocked(backup, this.clock.now());
    }
  }

  /** Finishes what a killed hub began. @returns whether the restore point is the rewritten one now */
  private async settle(state: OpenChain, found: PrunableChain, point: RewrittenPoint): Promise<boolean> {
    const { repositoryPath } = found;
    const folder = found.backups.get(point.backup_id)?.folder ?? '';
    return this.mutex.runExclusive(vmLock(state.vm_id), async () => {
      await this.rewriter.settle(repositoryPath, folder);
      const { stored, sha256: manifest_sha256 } = await this.files.readManifestAndHash(repositoryPath, folder);
      if (!point.files.every(({ file, parent_file }) => fileBelow(folder, stored, file) === parent_file)) return false;
      // A file that had to be built again has another hash than the event of the intent says.
      const files = point.files.map((each) => {
        const disk = stored.disks.find(({ file }) => file === each.file);
        return disk === undefined ? each : { ...each, after: factsOf(disk) };
      });
      const progress = { kind: 'rewritten', point: { ...point, files }, manifest_sha256, at: this.clock.iso() } as const;
      await this.recorder.record(found.chain.chain_id, progress);
      return true;
    });
  }

  /** Removes temporary files of a preparation that failed. */
  private async undo(state: OpenChain, found: PrunableChain): Promise<void> {
    for (const { backup_id, folder } of found.backups.values()) {
      if (folder === null || !state.points.includes(backup_id)) continue;
      await this.rewriter
        .settle(found.repositoryPath, folder)
        .catch((error: unknown) => this.log.warn('could not settle a restore point', { backup_id, error }));
    }
  }

  /** The files to be merged are hashed first, which finds what no one has looked at for long. */
  private async markDamaged(chainId: string, error: unknown): Promise<void> {
    if (!(error instanceof DomainError) || error.code !== 'restore_point_damaged') return;
    const { damaged_backup_id: backupId, file } = error.facts;
    if (typeof backupId !== 'string' || typeof file !== 'string') return;
    const finding = { code: 'parent_altered', detail: error.message, file, verification_id: null } as const;
    await this.commands.execute(new MarkRestorePointDamaged(chainId, backupId, finding, await this.recorder.context(chainId)));
  }

  private async unfinished(): Promise<readonly string[]> {
    await this.readModels.current('chains');
    const open = await this.dataSource
      .getRepository(ChainReadModel)
      .createQueryBuilder('chain')
      .where('cardinality(chain.pruning) > 0 or chain.rewriting is not null')
      .getMany();
    return open.map(({ chain_id }) => chain_id);
  }
}

/** Rewriting for a restore point that stays would be in vain. */
function refuseWithdrawn({ pruning_expired }: OpenChain, { backups }: PrunableChain): void {
  const backup_id = pruning_expired.find((id) => backups.get(id)?.expiry === null);
  if (backup_id === undefined) return;
  throw new DomainError('conflict', 'restore_point_not_expired', `Restore point ${backup_id} is kept: its expiry was taken back.`, { backup_id });
}

/** Trying again would end the same way. */
function isFinal(error: unknown): boolean {
  if (error instanceof ToolError) return !error.retryable && error.endedBy === null;
  return error instanceof DomainError && error.kind !== 'unavailable' && !['restore_point_in_use', 'restore_point_mounted'].includes(error.code);
}

function pointOf(folder: string, backup_id: string, before: readonly ManifestDisk[], rewriting: PreparedRewrite['rewriting']): RewrittenPoint {
  const { operation, merged, parent, disks } = rewriting;
  const old = new Map(before.map((disk) => [disk.file, disk]));
  const files = disks.map((disk) => {
    const { file_size_bytes, sha256 } = old.get(disk.file) ?? disk;
    return {
      disk_id: disk.disk_id,
      file: disk.file,
      parent_file: disk.backing_file === null ? null : normalize(join(folder, disk.backing_file)),
      parent_change_id: disk.parent_change_id,
      before: { size_bytes: file_size_bytes, sha256 },
      after: factsOf(disk),
    };
  });
  return { backup_id, operation, parent_backup_id: parent?.backup_id ?? null, merged, comparison: 'equal', files };
}

function factsOf({ file_size_bytes, sha256, mtime_ns }: ManifestDisk): { readonly size_bytes: number; readonly sha256: string; readonly mtime_ns: string } {
  return { size_bytes: file_size_bytes, sha256, mtime_ns };
}

/** The file that a disk's file is based on according to the manifest, relative to the repository. */
function fileBelow(folder: string, { disks }: Manifest, file: string): string | null {
  const backing = disks.find((disk) => disk.file === file)?.backing_file ?? null;
  return backing === null ? null : normalize(join(dirname(join(folder, file)), backing));
}
