import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { KeyedMutex, vmLock } from '../../../../lib/concurrency/keyed-mutex.js';
import { loggerFor } from '../../../../lib/logging/logger.js';
import { type HealingSource, RestorePointHealer } from '../../../../storage/copying/restore-point-healer.js';
import { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { rethrowSilence } from '../../../../storage/repository-files/storage-error.js';
import { isStorageAway } from '../../../store/reconciler/step-failure.js';
import { StorageWorkers } from '../../../repositories/repository-storage/storage-workers.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import type { VerificationFinding, VerificationRequested } from '../model/verification.events.js';
import { VerificationRecorder } from '../model/verification.recorder.js';
import type { KnownVerification } from '../model/verification.state.js';
import { type Place, placesToHealFrom, type PointToHeal, pointsToHeal } from './heal.plan.js';

/** Heals damaged restore points from the other places that hold them. */
@Injectable()
export class HealRestorePoints {
  private readonly log = loggerFor('HealRestorePoints');

  constructor(
    private readonly healer: RestorePointHealer,
    private readonly files: RepositoryFiles,
    private readonly workers: StorageWorkers,
    private readonly recorder: VerificationRecorder,
    private readonly readModels: ReadModels,
    private readonly dataSource: DataSource,
    private readonly mutex: KeyedMutex,
    private readonly clock: Clock,
  ) {}

  /** @returns whether a file was replaced, so that the restore points have to be read again */
  async heal(state: KnownVerification, findings: readonly VerificationFinding[], signal: AbortSignal): Promise<boolean> {
    let replaced = false;
    for (const point of pointsToHeal(findings, state)) {
      try {
        await this.healPoint(state.request, point, signal);
        replaced = true;
      } catch (error) {
        if (signal.aborted || isStorageAway(error) || !(error instanceof DomainError)) throw error;
        await this.discard(state.request, point.folder);
        const { code, message: detail } = error;
        const data = { backup_id: point.backup_id, code, detail, failed_at: this.clock.iso() };
        await this.recorder.record(state.request.verification_id, { kind: 'healing_failed', data });
        this.log.warn('a damaged restore point could not be healed', { backup_id: point.backup_id, repository_id: state.request.repository_id, code, detail });
      }
    }
    return replaced;
  }

  /** Removes what healings of a killed hub left. A failure leaves it to the next healing of the restore point. */
  async tidy({ request, healings }: KnownVerification): Promise<void> {
    if (request.heal !== true || healings.length === 0) return;
    for (const { folder } of request.points) await this.discard(request, folder);
  }

  private async healPoint(request: VerificationRequested['data'], point: PointToHeal, stopped: AbortSignal): Promise<void> {
    const { verification_id, repository_id, repository_path: repositoryPath, vm_id } = request;
    const { backup_id, folder, manifest_sha256 } = point;
    await this.files.checkAvailable(repository_id, repositoryPath);
    const sources = await this.sources(request, point);
    if (sources.length === 0) {
      throw new DomainError('conflict', 'no_other_place', `No other repository that can be read holds the same files of restore point ${backup_id}.`, {
        backup_id,
      });
    }
    const paths = [repositoryPath, ...sources.map(({ repository_path }) => repository_path)];
    const wanted = { repositoryPath, folder, backupId: backup_id, manifestSha256: manifest_sha256, damaged: point.damaged, sources };
    const preparing = this.workers.whileTheyAnswer(paths, (signal) => this.healer.prepare({ ...wanted, signal }), stopped);
    const prepared = await paths.reduce((work, path) => work.catch((error: unknown) => rethrowSilence(error, path)), preparing);
    if (prepared.healed.length === 0) {
      throw new DomainError('conflict', 'nothing_sound', `Nothing of restore point ${backup_id} could be written again.`, { backup_id });
    }
    await this.mutex.runExclusive(vmLock(vm_id), async () => {
      await this.refuseChanged(request, point);
      const data = { backup_id, files: prepared.healed, prepared_at: this.clock.iso() };
      await this.recorder.record(verification_id, { kind: 'healing_prepared', data });
      await this.healer.swap(prepared);
    });
    this.log.info('damaged files of a restore point were written again', { backup_id, repository_id, files: prepared.healed });
  }

  /** Other places that hold the same files and can be read now. */
  private async sources(request: VerificationRequested['data'], point: PointToHeal): Promise<readonly HealingSource[]> {
    const found: HealingSource[] = [];
    for (const { repository_id } of placesToHealFrom(point, request.repository_id, await this.places(point.backup_id))) {
      const repository = await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id });
      if (repository === null) continue;
      try {
        await this.files.checkPresent(repository_id, repository.path);
        found.push({ repository_id, repository_path: repository.path });
      } catch (error) {
        if (!(error instanceof DomainError)) throw error;
        this.log.info('a place to heal from cannot be read', { repository_id, backup_id: point.backup_id, detail: error.message });
      }
    }
    return found;
  }

  private async places(backupId: string): Promise<readonly Place[]> {
    await this.readModels.current('backups', 'copies');
    const backup = await this.dataSource.getRepository(BackupReadModel).findOneBy({ backup_id: backupId, status: 'completed' });
    const copies = await this.dataSource.getRepository(CopyReadModel).findBy({ backup_id: backupId, status: 'completed' });
    return [
      ...(backup === null ? [] : [{ ...backup, files: backup.files ?? [] }]),
      ...copies.map(({ repository_id, folder, manifest_sha256, disks }) => ({ repository_id, folder, manifest_sha256, files: disks ?? [] })),
    ];
  }

  /** It may have been deleted, or rewritten by a pruning, while its new files were written. @throws DomainError restore_point_deleted */
  private async refuseChanged({ repository_id }: VerificationRequested['data'], point: PointToHeal): Promise<void> {
    const place = (await this.places(point.backup_id)).find((each) => each.repository_id === repository_id);
    if (place?.folder === point.folder && place.manifest_sha256 === point.manifest_sha256) return;
    throw new DomainError('gone', 'restore_point_deleted', `Restore point ${point.backup_id} was deleted or rewritten before it could be healed.`, {
      backup_id: point.backup_id,
    });
  }

  private async discard({ repository_path }: VerificationRequested['data'], folder: string): Promise<void> {
    await this.healer
      .discard(repository_path, folder)
      .catch((error: unknown) => this.log.warn('could not remove what a healing has left; the next one will', { folder, error }));
  }
}
