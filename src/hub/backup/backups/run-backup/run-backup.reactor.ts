import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import type { Subscription } from 'rxjs';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { unknownVariant } from '../../../../kernel/decider.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { LiveProgress } from '../model/live-progress.registry.js';
import { runWithCorrelation } from '../../../../lib/logging/correlation.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { Reconciler, type StepOutcome } from '../../../store/reconciler/reconciler.js';
import { causeOf, isStorageAway } from '../../../store/reconciler/step-failure.js';
import { FileSync } from '../../../repositories/repository-storage/file-sync.js';
import { StorageWorkers } from '../../../repositories/repository-storage/storage-workers.js';
import { storageSilent } from '../../../../storage/storage-worker/storage-worker.js';
import { repositoryOf } from '../../../../storage/repository-files/restore-point-folder.js';
import { storageError } from '../../../../storage/repository-files/storage-error.js';
import type { BackupRun, KnownBackup } from '../model/backup.state.js';
import { BackupQueue } from './backup-queue.service.js';
import { ExportFacts } from './export-facts.reader.js';
import { PortsShortError, PrepareRun } from './prepare-run.step.js';
import { RunRecorder } from './record-run.recorder.js';
import { planRun, type RunFacts, type RunStep } from './run-backup.plan.js';
import { SealRun } from './seal-run.step.js';
import { TransferRun } from './transfer-run.step.js';
import { UndoRun } from './undo-run.step.js';

/** Interval at which quiet transfers are checked, in milliseconds. */
const TICK_MS = 1_000;
/** A transfer without a report for this long, in milliseconds, is checked. */
const QUIET_MS = 2_000;
/** For smaller disks, early writing does not pay. */
const EARLY_WRITE_BYTES = 256 * 1024 * 1024;

/** What is known of a run that does not need more. */
const NO_FACTS: RunFacts = { exports: new Map(), copies_reported: false };

/** Reconciler of backups: resumes those of an earlier hub in the order of their requests, and then follows the events. */
@Injectable()
export class RunBackupReactor implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly log = loggerFor('RunBackup');
  private readonly work = new Reconciler({ what: 'backup', step: (backupId) => this.step(backupId), unfinished: () => this.unfinished() }, this.log);
  /** By backup that is being transferred, the path of its repository. */
  private readonly transferring = new Map<string, string>();
  /** Backups poked while those of an earlier hub were still being looked up, which come first in the queue; null: they are known. */
  private pokedEarly: Set<string> | null = new Set();
  private events: Subscription | null = null;
  private ticker: NodeJS.Timeout | null = null;

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly config: HubConfig,
    private readonly clock: Clock,
    private readonly live: LiveProgress,
    private readonly fileSync: FileSync,
    private readonly workers: StorageWorkers,
    private readonly recorder: RunRecorder,
    private readonly queue: BackupQueue,
    private readonly exports: ExportFacts,
    private readonly preparation: PrepareRun,
    private readonly transfer: TransferRun,
    private readonly sealing: SealRun,
    private readonly undoing: UndoRun,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('backup', 'nbdExport', 'nbdPorts').subscribe((event) => {
      if (event.type === 'NbdPortReleased') this.queue.portReleased();
      else if (event.stream.startsWith('backup-')) this.poke(event.stream.slice('backup-'.length));
      else if (event.type === 'NbdExportExited') void this.wakeOwnerOf(event.stream);
    });
    this.ticker = setInterval(() => this.tick(), TICK_MS);
    this.work.start(this.feed.ready);
  }

  async onApplicationShutdown(): Promise<void> {
    this.events?.unsubscribe();
    if (this.ticker !== null) clearInterval(this.ticker);
    this.queue.close();
    await this.work.end();
  }

  private async step(backupId: string): Promise<StepOutcome> {
    const state = await this.recorder.load(backupId);
    const known = state.status === 'running' ? { exports: await this.exports.of(state.run), copies_reported: this.copiesReported(state.run) } : NO_FACTS;
    const steps = planRun(state, known);
    if (state.status === 'none' || steps.every(({ step }) => step === 'finished')) {
      this.release(backupId);
      return 'done';
    }
    this.observe(state);
    const { correlationId } = await this.recorder.context(backupId);
    const outcomes = await runWithCorrelation(correlationId, () => Promise.all(steps.map((step) => this.attempt(step, state))));
    return outcomes.find((outcome) => outcome === 'progressed') ?? outcomes.find((outcome) => outcome === 'retry') ?? 'waiting';
  }

  private observe(state: KnownBackup): void {
    const { run, status } = state;
    const { backup_id } = run.request;
    const written = run.disks[0]?.target?.qcow2_path;
    if (status === 'running' && run.transfer_requested && !run.snapshot_released && written !== undefined)
      this.transferring.set(backup_id, repositoryOf(written));
    else this.transferring.delete(backup_id);
    this.writeOutEarly(run, status === 'running');
    this.queue.observe(state);
  }

  /** A run that may still succeed fails with the cause. Undoing and settling can only be retried. */
  private async attempt(step: RunStep, state: KnownBackup): Promise<StepOutcome> {
    const { backup_id } = state.run.request;
    try {
      return await this.perform(step, state);
    } catch (error) {
      if (isStorageAway(error) || (state.status !== 'pending' && state.status !== 'running')) {
        this.log.warn(`step ${step.step} of a backup failed; trying again`, { backup_id, error });
        return 'retry';
      }
      const cause = causeOf(error);
      // The event reports expected causes. A defect also needs its stack in the log.
      if (cause.code === 'internal_error') this.log.error('a backup failed unexpectedly', { backup_id, error });
      const stage = state.status === 'pending' && this.queue.isAdmitted(backup_id) ? 'planning' : null;
      await this.recorder.record(backup_id, { kind: 'fail', stage, ...cause, failed_at: this.clock.iso() });
      return 'progressed';
    }
  }

  private async perform(step: RunStep, { run }: KnownBackup): Promise<StepOutcome> {
    const backupId = run.request.backup_id;
    switch (step.step) {
      case 'finished':
        return 'waiting';
      case 'await_admission':
        return this.planIfAdmitted(run);
      case 'create_targets':
        await this.preparation.createTargets(run);
        return 'progressed';
      case 'start_exports':
        await this.transfer.startExports(run, step.targets);
        return 'progressed';
      case 'request_transfer':
        await this.transfer.requestTransfer(run);
        return 'progressed';
      case 'watch_transfer':
        await this.transfer.watch(run);
        return 'waiting';
      case 'fail':
        await this.recorder.record(backupId, { kind: 'fail', stage: null, code: step.code, detail: step.detail, failed_at: this.clock.iso() });
        return 'progressed';
      case 'ask_node':
        await this.transfer.watch(run);
        return this.copiesReported(run) ? 'progressed' : 'retry';
      case 'stop_exports':
        await this.undoing.stopExports(backupId, step.export_ids);
        return 'progressed';
      case 'examine':
        await this.sealing.examine(run);
        return 'waiting';
      case 'seal':
        await this.sealing.seal(run);
        return 'progressed';
      case 'complete':
        await this.sealing.complete(run);
        return 'progressed';
      case 'settle':
        await this.undoing.settle(run, step.outcome);
        return 'progressed';
      case 'undo':
        await this.undoing.undo(run);
        return 'progressed';
      case 'remove_files':
        await this.undoing.removeFiles(run);
        return 'progressed';
      default:
        return unknownVariant('step of a backup run', step);
    }
  }

  private async planIfAdmitted(run: BackupRun): Promise<StepOutcome> {
    if (!this.queue.isAdmitted(run.request.backup_id)) return 'waiting';
    try {
      await this.preparation.plan(run);
      return 'progressed';
    } catch (error) {
      if (!(error instanceof PortsShortError)) throw error;
      await this.queue.putBack(run.request, error);
      return 'waiting';
    }
  }

  private release(backupId: string): void {
    this.transferring.delete(backupId);
    this.transfer.forget(backupId);
    this.sealing.forget(backupId);
    this.recorder.forget(backupId);
    this.queue.release(backupId);
  }

  private poke(backupId: string): void {
    if (this.pokedEarly === null) this.work.poke(backupId);
    else this.pokedEarly.add(backupId);
  }

  private async wakeOwnerOf(exportStream: string): Promise<void> {
    try {
      const owner = await this.exports.ownerOf(exportStream);
      if (owner !== null) this.work.wake(owner);
    } catch (error) {
      this.log.warn('could not look up the backup that owns an export', { stream: exportStream, error });
    }
  }

  private tick(): void {
    for (const [backupId, repositoryPath] of this.transferring) {
      // Writes to silent storage wait in the kernel; the node only sees slow progress.
      if (this.workers.silentMs(repositoryPath) >= this.config.failAfterSilentSeconds * 1000) this.failSilent(backupId, repositoryPath);
      const heard = this.live.heard(backupId);
      if (heard === null || performance.now() - heard.heardAtMs > QUIET_MS) this.poke(backupId);
    }
    this.queue.tick();
  }

  private failSilent(backupId: string, repositoryPath: string): void {
    const cause = causeOf(storageError(storageSilent(repositoryPath), repositoryPath, 'writing'));
    this.recorder
      .record(backupId, { kind: 'fail', stage: null, ...cause, failed_at: this.clock.iso() })
      .catch((error: unknown) => this.log.warn('could not record that a repository does not respond', { backup_id: backupId, error }));
  }

  /** While large disks are being copied, their data is flushed early, so that sealing has less to wait for. */
  private writeOutEarly({ disks }: BackupRun, running: boolean): void {
    for (const { target, transfer } of disks) {
      if (target === null) continue;
      if (running && transfer.status === 'running' && transfer.total_bytes >= EARLY_WRITE_BYTES)
        this.fileSync.follow(target.qcow2_path, repositoryOf(target.qcow2_path));
      else this.fileSync.leave(target.qcow2_path);
    }
  }

  private copiesReported(run: BackupRun): boolean {
    return this.live.heard(run.request.backup_id)?.report.disks.every((disk) => disk.status === 'completed') ?? false;
  }

  /** Nothing is admitted before the backups of an earlier hub are in the queue, in the order of their requests. */
  private async unfinished(): Promise<readonly string[]> {
    await this.readModels.current('backups');
    const rows = await this.dataSource
      .getRepository(BackupReadModel)
      .createQueryBuilder('backup')
      .select(['backup.backup_id'])
      .where("backup.status in ('pending', 'running')")
      .orWhere("backup.status = 'completed' and backup.change_tracking is null")
      .orWhere("backup.status in ('failed', 'cancelled') and (not backup.undone or (backup.nbd_targets_string is not null and backup.change_tracking is null))")
      .orWhere("backup.status = 'deleted' and not backup.files_removed")
      .orderBy('backup.created_position')
      .getMany();
    const ids = rows.map(({ backup_id }) => backup_id);
    for (const backupId of ids) {
      const state = await this.recorder.load(backupId);
      if (state.status !== 'none') this.queue.observe(state);
    }
    if (ids.length > 0) this.log.info('resuming unfinished backups of an earlier run of the hub', { count: ids.length });
    const early = this.pokedEarly ?? [];
    this.pokedEarly = null;
    this.queue.open((backupId) => this.work.poke(backupId));
    return [...ids, ...early];
  }
}
