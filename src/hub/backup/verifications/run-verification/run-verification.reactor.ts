import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import pLimit from 'p-limit';
import type { Subscription } from 'rxjs';
import { DataSource, In } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';
import { VerificationReadModel } from '../../../../../projections/verifications/verifications.read-model.js';
import type { CommandContext } from '../../../../kernel/command-context.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock, Ids } from '../../../../lib/clock/clock.js';
import { EventFeed } from '../../../store/event-store/event-feed.js';
import { Reconciler, type StepOutcome } from '../../../store/reconciler/reconciler.js';
import { isStorageAway } from '../../../store/reconciler/step-failure.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { ToolError } from '../../../../lib/process/tool-error.js';
import { StorageWorkers } from '../../../repositories/repository-storage/storage-workers.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { rethrowSilence } from '../../../../storage/repository-files/storage-error.js';
import { RestorePointVerifier } from '../../../../storage/repository-files/restore-point-verifier.js';
import { BootArtefacts } from '../model/boot-artefacts.store.js';
import type { VerificationStep } from '../model/verification.decide.js';
import type { BootCheckStarted, BootWanted, VerificationFinding, VerificationRequested } from '../model/verification.events.js';
import { VerificationRecorder } from '../model/verification.recorder.js';
import type { KnownVerification } from '../model/verification.state.js';
import { BootRestorePoint } from './boot-restore-point.step.js';
import { HealRestorePoints } from './heal-restore-points.step.js';
import { RecordVerdicts } from './record-verdicts.step.js';

const MAX_BOOT_ATTEMPTS = 3;

/**
 * Runs verifications one at a time, because two at once would only make the storage seek. One that a killed hub had begun starts again, since it changes
 * nothing.
 */
@Injectable()
export class RunVerificationReactor implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = loggerFor('RunVerification');
  private readonly oneAtATime = pLimit(1);
  private readonly work = new Reconciler(
    {
      what: 'verification',
      step: (verificationId, stopped) => this.oneAtATime(() => this.verify(verificationId, stopped)),
      unfinished: () => this.unfinished(),
    },
    this.log,
  );
  private events: Subscription | null = null;

  constructor(
    private readonly feed: EventFeed,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly recorder: VerificationRecorder,
    private readonly files: RepositoryFiles,
    private readonly verifier: RestorePointVerifier,
    private readonly workers: StorageWorkers,
    private readonly booting: BootRestorePoint,
    private readonly marks: RecordVerdicts,
    private readonly healing: HealRestorePoints,
    private readonly artefacts: BootArtefacts,
    private readonly clock: Clock,
    private readonly ids: Ids,
  ) {}

  onApplicationBootstrap(): void {
    this.events = this.feed.ofCategories('verification', 'backup').subscribe((event) => {
      if (event.type === 'RestorePointFilesRemoved') void this.forgetArtefacts();
      if (event.type === 'VerificationRequested') this.work.poke(event.stream.slice(event.stream.indexOf('-') + 1));
    });
    this.work.start(this.feed.ready);
  }

  /** Stops in the earliest phase of a shutdown, while the dependencies are still available. */
  async onModuleDestroy(): Promise<void> {
    this.events?.unsubscribe();
    await this.work.end();
  }

  private async verify(verificationId: string, stopped: AbortSignal): Promise<StepOutcome> {
    // It may have waited for its turn until the hub was stopped.
    stopped.throwIfAborted();
    const { state } = await this.recorder.load(verificationId);
    if (state.status !== 'running') return 'done';
    const { request } = state;
    const context = await this.recorder.context(verificationId);
    try {
      // If a killed hub had begun to boot the restore point, its files were found sound before.
      const { findings, files, bytes } = state.boot === null ? await this.readUnlessDeleted(request) : soundBefore(state.boot);
      // Mark the damage first, so that a client that sees the verdict also sees the damage.
      await this.marks.record(state, findings, () => ({ ...context, commandId: this.ids.next() }));
      if (findings.length > 0 && (await this.healing.heal(state, findings, this.work.ending))) return 'progressed';
      await this.healing.tidy(state);
      if (findings.length === 0 && request.boot !== undefined) await this.bootSound(state, request.boot, { files, bytes }, context);
      const conclusion = { kind: 'conclude', findings, files_checked: files, bytes_checked: bytes, finished_at: this.clock.iso() } as const;
      await this.recorder.record(verificationId, conclusion);
    } catch (error) {
      if (isStorageAway(error) || (!(error instanceof DomainError) && !(error instanceof ToolError))) throw error;
      const abort = { kind: 'abort', code: error.code, detail: error.message, finished_at: this.clock.iso() } as const;
      await this.recorder.record(verificationId, abort);
    }
    return 'done';
  }

  /** Records the verdict before cleaning up, so that a hub killed in between can clean up later. A hub that shuts down leaves the guest to the next one. */
  private async bootSound(
    state: KnownVerification,
    wanted: BootWanted,
    read: { readonly files: number; readonly bytes: number },
    context: CommandContext,
  ): Promise<void> {
    const { request } = state;
    const newContext = (): CommandContext => ({ ...context, commandId: this.ids.next() });
    const record = (step: VerificationStep): Promise<unknown> => this.recorder.record(request.verification_id, step);
    let attempt = state.boot?.attempt ?? 1;
    const cleanUp = (): Promise<void> => this.booting.cleanUp(request, wanted, attempt, newContext, this.work.ending);
    try {
      for (let decided = state.boot_verdict !== null; !decided;) {
        await record({ kind: 'boot_started', attempt, files_checked: read.files, bytes_checked: read.bytes, started_at: this.clock.iso() });
        const checked = await this.booting.boot(request, wanted, attempt, newContext, this.work.ending);
        if (checked !== null) {
          await record({ kind: 'boot_checked', data: checked });
          decided = true;
        } else if (attempt < MAX_BOOT_ATTEMPTS) {
          await cleanUp();
          attempt += 1;
        } else {
          throw new DomainError(
            'conflict',
            'check_interrupted',
            `The node was restarted or lost its connection to the disks in each of ${MAX_BOOT_ATTEMPTS} attempts to boot the restore point.`,
          );
        }
      }
    } catch (error) {
      if (!this.work.isStopping() && (error instanceof DomainError || error instanceof ToolError)) await cleanUp();
      throw error;
    }
    await cleanUp();
  }

  /** @throws DomainError restore_point_deleted, instead of reporting the files of a deleted restore point as missing */
  private async readUnlessDeleted(request: VerificationRequested['data']): ReturnType<RunVerificationReactor['read']> {
    try {
      const found = await this.read(request);
      if (found.findings.length > 0) await this.refuseDeleted(request);
      return found;
    } catch (error) {
      // The repository may have been removed together with its last restore point.
      if (error instanceof DomainError) await this.refuseDeleted(request);
      throw error;
    }
  }

  private async read(
    request: VerificationRequested['data'],
  ): Promise<{ readonly findings: readonly VerificationFinding[]; readonly files: number; readonly bytes: number }> {
    await this.files.checkPresent(request.repository_id, request.repository_path);
    const findings = new Map<string, VerificationFinding>();
    let files = 0;
    let bytes = 0;
    for (const point of request.points) {
      const verdict = await this.workers
        .whileTheyAnswer(
          [request.repository_path],
          (signal) => this.verifier.verifyPoint(request.repository_path, point.folder, { expected: point, signal }),
          this.work.ending,
        )
        .catch((error: unknown) => rethrowSilence(error, request.repository_path));
      files += verdict.files_checked;
      bytes += verdict.bytes_checked;
      for (const { code, backup_id, file, detail, ranges } of verdict.findings) {
        const key = `${backup_id ?? point.backup_id} ${code} ${file ?? ''}`;
        // A missing parent is found both by itself and by the restore point that depends on it.
        if (!findings.has(key)) findings.set(key, { code, backup_id: backup_id ?? point.backup_id, file, detail, ...(ranges.length === 0 ? {} : { ranges }) });
      }
    }
    return { findings: [...findings.values()], files, bytes };
  }

  /** Files removed by the deletion of their restore point are not damage. @throws DomainError restore_point_deleted */
  private async refuseDeleted({ points, repository_id }: VerificationRequested['data']): Promise<void> {
    await this.readModels.current('backups', 'copies');
    const standing = { backup_id: In(points.map(({ backup_id }) => backup_id)), repository_id, status: 'completed' as const };
    const backups = await this.dataSource.getRepository(BackupReadModel).findBy(standing);
    const copies = await this.dataSource.getRepository(CopyReadModel).findBy(standing);
    const held = new Set([...backups, ...copies].map(({ backup_id }) => backup_id));
    const deleted = points.find(({ backup_id }) => !held.has(backup_id));
    if (deleted === undefined) return;
    throw new DomainError('gone', 'restore_point_deleted', `Restore point ${deleted.backup_id} was deleted before it could be verified.`, {
      backup_id: deleted.backup_id,
    });
  }

  /** Removes the boot artefacts of deleted restore points. Any that are missed are removed at the next start. */
  private async forgetArtefacts(): Promise<void> {
    try {
      await this.readModels.current('backups');
      for (const verificationId of await this.artefacts.all()) {
        const verification = await this.dataSource.getRepository(VerificationReadModel).findOneBy({ verification_id: verificationId });
        const backup = verification === null ? null : await this.dataSource.getRepository(BackupReadModel).findOneBy({ backup_id: verification.backup_id });
        if (backup?.status === 'deleted') await this.artefacts.remove(verificationId);
      }
    } catch (error) {
      if (!this.work.isStopping())
        this.log.warn('could not remove the boot check artefacts of deleted restore points; trying again at the next deletion or start', { error });
    }
  }

  private async unfinished(): Promise<readonly string[]> {
    await this.readModels.current('verifications');
    const open = await this.dataSource.getRepository(VerificationReadModel).find({ where: { status: 'running' }, order: { created_position: 'ASC' } });
    void this.forgetArtefacts();
    return open.map(({ verification_id }) => verification_id);
  }
}

function soundBefore(boot: BootCheckStarted['data']): { readonly findings: readonly VerificationFinding[]; readonly files: number; readonly bytes: number } {
  return { findings: [], files: boot.files_checked, bytes: boot.bytes_checked };
}
