import { constants } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import type { Subscription } from 'rxjs';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { poolPorts } from '../../../exports/nbd-ports/model/pool-ports.reader.js';
import { unknownVariant } from '../../../../kernel/decider.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { messageOf } from '../../../../kernel/error-message.js';
import { type NbdExportEvent, nbdExportStream } from '../../../exports/nbd-exports/model/nbd-export.events.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { asDomainEvent } from '../../../store/event-store/command-runner.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { EventStore, type RecordedEvent } from '../../../store/event-store/event-store.port.js';
import { LiveProgress } from '../model/live-progress.registry.js';
import { runWithCorrelation } from '../../../../lib/logging/correlation.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { FileSync } from '../../../repositories/repository-storage/file-sync.js';
import { StorageWorkers } from '../../../repositories/repository-storage/storage-workers.js';
import { storageSilent } from '../../../../storage/storage-worker/storage-worker.js';
import { repositoryOf } from '../../../../storage/repository-files/restore-point-folder.js';
import { storageError } from '../../../../storage/repository-files/storage-error.js';
import { ToolError } from '../../../../lib/process/tool-error.js';
import { type StoredBackupEvent, upcastBackupEvent } from '../model/backup.events.js';
import type { BackupRun, BackupState, RunDisk } from '../model/backup.state.js';
import { type ActorHost, BackupActor, type StepOutcome } from './backup-actor.reactor.js';
import { type ActiveBackup, decideAdmissions, type PortShortage, type QueuedBackup } from './admit-backups.decide.js';
import { PortsShortError, PrepareRun } from './prepare-run.step.js';
import { RunRecorder } from './record-run.recorder.js';
import { type ExportFact, planRun, type RunStep } from './run-backup.plan.js';
import { SealRun } from './seal-run.step.js';
import { TransferRun } from './transfer-run.step.js';
import { UndoRun } from './undo-run.step.js';

/** Interval at which quiet transfers are checked, in milliseconds. */
const TICK_MS = 1_000;
/** A transfer without a report for this long, in milliseconds, is checked. */
const QUIET_MS = 2_000;
/** For smaller disks, early writing does not pay. */
const EARLY_WRITE_BYTES = 256 * 1024 * 1024;
/** Interval of retries for ports, in milliseconds: other programs release ports without notice. */
const PORT_RETRY_MS = 5_000;
const RECOVERY_PAUSE_MS = 1_000;

/**
 * Runs all backups: one actor for each unfinished backup, and a queue for those that wait. At start it resumes every backup that the read model shows as
 * unfinished; from then on it follows the events. It remembers only what can be read again.
 */
@Injectable()
export class RunBackupReactor implements ActorHost, OnApplicationBootstrap, OnApplicationShutdown {
  private readonly log = loggerFor('RunBackup');
  private readonly actors = new Map<string, BackupActor>();
  /** In the order of the requests. */
  private readonly queue = new Map<string, QueuedBackup>();
  /** By backup, its place in that order. */
  private readonly places = new Map<string, number>();
  private readonly active = new Map<string, ActiveBackup>();
  private readonly admitted = new Set<string>();
  private readonly transferring = new Map<string, string>();
  /** Backups poked while those of an earlier run were still being looked up. */
  private readonly pokedEarly = new Set<string>();
  private nextPlace = 0;
  /** By backup, with the performance.now() at which too few ports were free; null while ports are not short. */
  private shortages: Map<string, PortShortage & { readonly sinceMs: number }> | null = null;
  /** The settings under which backups were last admitted. */
  private limits = '';
  private events: Subscription | null = null;
  private ticker: NodeJS.Timeout | null = null;
  private recovery: Promise<void> = Promise.resolve();
  private recovered = false;
  private stopping = false;

  constructor(
    private readonly feed: EventFeed,
    private readonly store: EventStore,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly config: HubConfig,
    private readonly clock: Clock,
    private readonly live: LiveProgress,
    private readonly fileSync: FileSync,
    private readonly workers: StorageWorkers,
    private readonly recorder: RunRecorder,
    private readonly preparation: PrepareRun,
    private readonly transfer: TransferRun,
    private readonly sealing: SealRun,
    private readonly undoing: UndoRun,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('backup', 'nbdExport', 'nbdPorts').subscribe((event) => {
      if (event.type === 'NbdPortReleased') this.onPortReleased();
      else if (event.stream.startsWith('backup-')) {
        this.tell(event);
        this.poke(idOf(event.stream));
      } else if (event.type === 'NbdExportExited') this.pokeOwnerOf(event.stream);
    });
    this.ticker = setInterval(() => this.tick(), TICK_MS);
    this.recovery = this.recover();
  }

  async onApplicationShutdown(): Promise<void> {
    this.stopping = true;
    this.events?.unsubscribe();
    if (this.ticker !== null) clearInterval(this.ticker);
    await this.recovery;
    await Promise.all([...this.actors.values()].map((actor) => actor.stop()));
  }

  async load(backupId: string): Promise<BackupState> {
    return this.recorder.load(backupId);
  }

  async plan(state: BackupState): Promise<readonly RunStep[]> {
    if (state.status !== 'running') return planRun(state, { exports: new Map(), copies_reported: false });
    return planRun(state, { exports: await this.exportFacts(state), copies_reported: this.copiesReported(state.run) });
  }

  async execute(backupId: string, step: RunStep, state: BackupState): Promise<StepOutcome> {
    const { correlationId } = await this.recorder.context(backupId);
    return runWithCorrelation(correlationId, () => this.perform(backupId, step, state));
  }

  async fail(backupId: string, state: BackupState, error: unknown): Promise<void> {
    const { code, detail } = causeOf(error);
    const { correlationId } = await this.recorder.context(backupId);
    // The event reports expected causes. A defect also needs its stack in the log.
    if (code === 'internal_error') runWithCorrelation(correlationId, () => this.log.error('a backup failed unexpectedly', { backup_id: backupId, error }));
    const stage = state.status === 'pending' && this.admitted.has(backupId) ? 'planning' : null;
    await this.recorder.record(backupId, { kind: 'fail', stage, code, detail, failed_at: this.clock.iso() });
  }

  observed(backupId: string, state: BackupState, finished: boolean): void {
    if (finished || state.status === 'none') {
      this.release(backupId);
      return;
    }
    const { vm_id } = state.run.request;
    if (state.status === 'pending') {
      // A backup that is already queued or admitted keeps its place.
      if (!this.admitted.has(backupId) && !this.queue.has(backupId)) this.enqueue({ backup_id: backupId, vm_id });
    } else {
      this.leaveQueue(backupId);
      this.shortages?.delete(backupId);
      this.active.set(backupId, { backup_id: backupId, vm_id, counts: state.status === 'running' });
      const written = state.run.disks[0]?.target?.qcow2_path;
      if (state.status === 'running' && state.run.transfer_requested && !state.run.snapshot_released && written !== undefined)
        this.transferring.set(backupId, repositoryOf(written));
      else this.transferring.delete(backupId);
      this.writeOutEarly(state.run.disks, state.status === 'running');
    }
    this.admit();
  }

  warn(backupId: string, message: string, error: unknown): void {
    this.log.warn(message, { backup_id: backupId, error });
  }

  /** Logs the outline of every backup, under the correlation id of its request. */
  private tell(recorded: RecordedEvent): void {
    const event = upcastBackupEvent(asDomainEvent<StoredBackupEvent>(recorded));
    const backup_id = idOf(recorded.stream);
    runWithCorrelation(recorded.metadata.$correlationId, () => {
      switch (event.type) {
        case 'BackupQueued':
          this.log.info('backup queued', { backup_id, waiting_for: event.data.waiting_for });
          break;
        case 'BackupPlannedV2': {
          const { backup_type, full_reason, folder, disks } = event.data;
          this.log.info('backup planned', { backup_id, backup_type, full_reason, folder, disks: disks.length });
          break;
        }
        case 'BackupCompleted':
          this.log.info('backup completed', { backup_id });
          break;
        case 'BackupCancelled':
          this.log.info('backup cancelled', { backup_id, actor: recorded.metadata.actor });
          break;
        case 'BackupFailed': {
          const { stage, code, detail } = event.data;
          this.log.warn('backup failed', { backup_id, stage, code, detail });
          break;
        }
        default:
          // Intermediate steps are only in the backup's own events.
          break;
      }
    });
  }

  private async perform(backupId: string, step: RunStep, state: BackupState): Promise<StepOutcome> {
    if (state.status === 'none') return 'waiting';
    const { run } = state;
    switch (step.step) {
      case 'finished':
        return 'waiting';
      case 'await_admission':
        return state.status === 'pending' ? this.planIfAdmitted(backupId, state) : 'waiting';
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

  private async planIfAdmitted(backupId: string, state: Extract<BackupState, { status: 'pending' }>): Promise<StepOutcome> {
    if (!this.admitted.has(backupId)) return 'waiting';
    try {
      await this.preparation.plan(state.run);
      return 'progressed';
    } catch (error) {
      if (!(error instanceof PortsShortError)) throw error;
      const missing = error.wanted - error.free;
      const missing_without_backups = missing - (await this.portsOfOtherBackups(backupId));
      this.shortages ??= new Map();
      this.shortages.set(backupId, { missing, missing_without_backups, sinceMs: performance.now() });
      this.admitted.delete(backupId);
      this.active.delete(backupId);
      this.enqueue({ backup_id: backupId, vm_id: state.run.request.vm_id });
      this.admit();
      return 'waiting';
    }
  }

  private async portsOfOtherBackups(backupId: string): Promise<number> {
    const { nbdPortFirst: first, nbdPortCount: count } = this.config;
    const ports = await poolPorts(this.dataSource, { first, count });
    return ports.filter(({ port, job_id }) => port >= first && port < first + count && job_id !== null && job_id !== backupId && this.active.has(job_id))
      .length;
  }

  /** Starts the backups that may start, and records why the others wait. */
  private admit(): void {
    if (!this.recovered || this.stopping) return;
    if (this.queue.size === 0 && this.admitted.size === 0) this.shortages = null;
    const queue = [...this.queue.values()];
    const limit = this.config.maxConcurrentBackups;
    for (const admission of decideAdmissions(queue, [...this.active.values()], limit, this.shortages, this.admitted.size > 0)) {
      const { backup_id } = admission;
      if (admission.start) {
        const queued = this.queue.get(backup_id);
        if (queued === undefined) continue;
        this.queue.delete(backup_id);
        this.admitted.add(backup_id);
        this.active.set(backup_id, { ...queued, counts: true });
        this.poke(backup_id);
      } else {
        this.recorder
          .record(backup_id, { kind: 'record-queued', waiting_for: admission.waiting_for, detail: admission.detail })
          .catch((error: unknown) => this.warn(backup_id, 'could not record why a backup is waiting', error));
      }
    }
  }

  private onPortReleased(): void {
    this.lessenShortages((shortage) => shortage.missing - 1);
  }

  /** Retries backups for which enough ports have become free. */
  private lessenShortages(missingNow: (shortage: PortShortage & { readonly sinceMs: number }) => number): void {
    if (this.shortages === null) return;
    let enough = false;
    for (const [backupId, shortage] of this.shortages) {
      if (shortage.missing <= 0) continue;
      const missing = missingNow(shortage);
      this.shortages.set(backupId, { ...shortage, missing });
      enough ||= missing <= 0;
    }
    if (enough) this.admit();
  }

  /** Inserts the backup at the place of its request: one that was admitted but found no ports returns ahead of later requests. */
  private enqueue(backup: QueuedBackup): void {
    if (!this.places.has(backup.backup_id)) this.places.set(backup.backup_id, this.nextPlace++);
    const place = ({ backup_id }: QueuedBackup): number => this.places.get(backup_id) ?? Number.MAX_SAFE_INTEGER;
    const inOrder = [...this.queue.values(), backup].sort((one, other) => place(one) - place(other));
    this.queue.clear();
    for (const each of inOrder) this.queue.set(each.backup_id, each);
  }

  private leaveQueue(backupId: string): void {
    this.queue.delete(backupId);
    this.admitted.delete(backupId);
  }

  private release(backupId: string): void {
    this.leaveQueue(backupId);
    this.shortages?.delete(backupId);
    this.places.delete(backupId);
    this.active.delete(backupId);
    this.transferring.delete(backupId);
    this.transfer.forget(backupId);
    this.sealing.forget(backupId);
    this.recorder.forget(backupId);
    this.actors.delete(backupId);
    this.admit();
  }

  private poke(backupId: string): void {
    if (this.stopping) return;
    if (!this.recovered) {
      this.pokedEarly.add(backupId);
      return;
    }
    let actor = this.actors.get(backupId);
    if (actor === undefined) {
      actor = new BackupActor(backupId, this);
      this.actors.set(backupId, actor);
    }
    actor.poke();
  }

  private pokeOwnerOf(exportStream: string): void {
    const find = async (): Promise<void> => {
      for await (const first of this.store.read(exportStream, { limit: 1 })) {
        const event = asDomainEvent<NbdExportEvent>(first);
        if (event.type === 'NbdExportRequested' && this.actors.has(event.data.job_id)) this.poke(event.data.job_id);
      }
    };
    find().catch((error: unknown) => this.log.warn('could not look up the backup that owns an export', { stream: exportStream, error }));
  }

  private tick(): void {
    const now = performance.now();
    for (const [backupId, repositoryPath] of this.transferring) {
      // Writes to silent storage wait in the kernel; the node only sees slow progress.
      if (this.workers.silentMs(repositoryPath) >= this.config.failAfterSilentSeconds * 1000) this.failSilent(backupId, repositoryPath);
      const heard = this.live.heard(backupId);
      if (heard === null || now - heard.heardAtMs > QUIET_MS) this.poke(backupId);
    }
    this.lessenShortages(({ missing, sinceMs }) => (now - sinceMs > PORT_RETRY_MS ? 0 : missing));
    const { maxConcurrentBackups, nbdPortFirst, nbdPortCount } = this.config;
    const limits = JSON.stringify([maxConcurrentBackups, nbdPortFirst, nbdPortCount]);
    if (limits !== this.limits) {
      // The settings were reloaded: there may now be a place for waiting backups.
      this.limits = limits;
      this.lessenShortages(() => 0);
      this.admit();
    }
  }

  private failSilent(backupId: string, repositoryPath: string): void {
    const cause = causeOf(storageError(storageSilent(repositoryPath), repositoryPath, 'writing'));
    this.recorder
      .record(backupId, { kind: 'fail', stage: null, ...cause, failed_at: this.clock.iso() })
      .catch((error: unknown) => this.warn(backupId, 'could not record that a repository does not respond', error));
  }

  /** While large disks are being copied, their data is flushed early, so that sealing has less to wait for. */
  private writeOutEarly(disks: readonly RunDisk[], running: boolean): void {
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

  private async exportFacts(state: Extract<BackupState, { status: 'running' }>): Promise<Map<string, ExportFact>> {
    const facts = new Map<string, ExportFact>();
    await Promise.all(
      state.run.disks.map(async ({ target }) => {
        if (target === null) return;
        for await (const newest of this.store.read(nbdExportStream(target.export_id), { direction: 'backwards', limit: 1 })) {
          facts.set(target.export_id, exportFact(asDomainEvent<NbdExportEvent>(newest)));
        }
      }),
    );
    return facts;
  }

  /** Resumes the backups of an earlier hub, in the order of their requests. Nothing is started before that, because the queue would be out of order. */
  private async recover(): Promise<void> {
    await this.feed.ready;
    while (!this.stopping) {
      try {
        await this.readModels.current('backups');
        const unfinished = await this.dataSource
          .getRepository(BackupReadModel)
          .createQueryBuilder('backup')
          .select(['backup.backup_id'])
          .where("backup.status in ('pending', 'running')")
          .orWhere("backup.status = 'completed' and backup.change_tracking is null")
          .orWhere(
            "backup.status in ('failed', 'cancelled') and (not backup.undone or (backup.nbd_targets_string is not null and backup.change_tracking is null))",
          )
          .orWhere("backup.status = 'deleted' and not backup.files_removed")
          .orderBy('backup.created_position')
          .getMany();
        for (const { backup_id } of unfinished) {
          const state = await this.recorder.load(backup_id);
          if (state.status === 'pending') this.enqueue({ backup_id, vm_id: state.run.request.vm_id });
          else if (state.status !== 'none') this.active.set(backup_id, { backup_id, vm_id: state.run.request.vm_id, counts: state.status === 'running' });
        }
        this.recovered = true;
        if (unfinished.length > 0) this.log.info('resuming unfinished backups of an earlier run of the hub', { count: unfinished.length });
        for (const { backup_id } of unfinished) this.poke(backup_id);
        for (const backupId of this.pokedEarly) this.poke(backupId);
        this.pokedEarly.clear();
        this.admit();
        return;
      } catch (error) {
        this.log.warn('could not resume unfinished backups; trying again', { error });
        await pause(RECOVERY_PAUSE_MS);
      }
    }
  }
}

/** A shell reports termination by a signal as exit code 128 plus the signal's number. */
function endOf(exitCode: number | null): string {
  const signal = Object.entries(constants.signals).find(([, number]) => exitCode === 128 + number)?.[0];
  return signal === undefined ? `exited unexpectedly (exit code ${exitCode ?? 'unknown'})` : `was terminated by ${signal}, which the hub did not send`;
}

function exportFact(event: NbdExportEvent): ExportFact {
  switch (event.type) {
    case 'NbdExportRequested':
      return { standing: 'requested' };
    case 'NbdExportStarted':
      return { standing: 'started' };
    case 'NbdExportStartFailed':
      return {
        standing: 'broken',
        code: `export_${event.data.code}`,
        exit_code: event.data.exit_code,
        detail: `qemu-nbd could not be started (${event.data.code}, exit code ${event.data.exit_code ?? 'unknown'}): ${event.data.stderr.trim()}`,
      };
    case 'NbdExportExited':
      return {
        standing: 'broken',
        code: 'export_exited',
        exit_code: event.data.exit_code,
        detail: `qemu-nbd ${endOf(event.data.exit_code)}${event.data.stderr.trim() === '' ? '' : `: ${event.data.stderr.trim()}`}`,
      };
    case 'NbdExportStopped':
      return { standing: 'stopped', killed: event.data.signal === 'SIGKILL' };
    default:
      return unknownVariant('export stream', event);
  }
}

function causeOf(error: unknown): { readonly code: string; readonly detail: string } {
  if (error instanceof DomainError || error instanceof ToolError) return { code: error.code, detail: error.message };
  return { code: 'internal_error', detail: messageOf(error) };
}

function idOf(stream: string): string {
  return stream.slice(stream.indexOf('-') + 1);
}
