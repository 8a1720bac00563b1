import type { DataSource } from 'typeorm';
import { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import type { SourceFile } from '../../../restore/restore-jobs/model/restore-job.events.js';
import type { ReadModels } from '../../../store/postgres/read-models.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { ChainReadModel } from '../../../../../projections/chains/chains.read-model.js';
import type { RepositoryFiles } from '../../../../storage/repository-files/repository-files.js';
import { asCopied, copyLineage } from './copied-point.plan.js';
import { type ChainMember, sourceFilesOf } from './source-files.plan.js';

/** Which of the places that hold a restore point is to be read. */
export interface WantedPlace {
  /** null: where it was backed up to or, if that is gone, does not answer or is damaged, where it has a copy. */
  readonly repositoryId: string | null;
  readonly allowDamaged: boolean;
}

/**
 * The restore point as it is in the chosen repository. Waits until the read models have caught up, because its deletion may just have been recorded.
 * @throws DomainError backup_not_found, backup_not_restorable, copy_not_found
 */
export async function restorableBackup(
  readModels: ReadModels,
  dataSource: DataSource,
  files: RepositoryFiles,
  backupId: string,
  place: WantedPlace,
): Promise<BackupReadModel> {
  await readModels.current('backups', 'copies');
  const found = await dataSource.getRepository(BackupReadModel).findOneBy({ backup_id: backupId });
  if (found === null) throw new DomainError('not_found', 'backup_not_found', `There is no backup ${backupId}.`, { backup_id: backupId });
  const backup = await restorePointAt(dataSource, files, found, place);
  if (backup.status !== 'completed') {
    throw new DomainError('conflict', 'backup_not_restorable', `Backup ${backupId} is ${backup.status}; only a completed backup can be restored.`, {
      backup_id: backupId,
      status: backup.status,
    });
  }
  return backup;
}

/**
 * The restore point as it is in the chosen repository; as it was backed up if no place that holds it can be used.
 * @throws DomainError copy_not_found: it has no copy in the repository that was asked for
 */
export async function restorePointAt(
  dataSource: DataSource,
  files: RepositoryFiles,
  backup: BackupReadModel,
  { repositoryId, allowDamaged }: WantedPlace,
): Promise<BackupReadModel> {
  if (repositoryId !== null) return recordedAt(dataSource, backup, repositoryId);
  const copies = await copiesOf(dataSource, backup);
  const ids = new Set(copies.filter(({ backup_id }) => backup_id === backup.backup_id).map(({ repository_id }) => repository_id));
  if (ids.size === 0) return backup;
  const copied = [...ids]
    .map((id) =>
      asCopied(
        backup,
        copies.filter(({ repository_id }) => repository_id === id),
      ),
    )
    .filter((each) => each !== null);
  const places = [...(backup.status === 'completed' ? [backup] : []), ...copied].filter(({ damage }) => damage === null || allowDamaged);
  for (const place of places) {
    try {
      const { repository_id, path } = await repositoryOf(dataSource, place);
      await files.checkPresent(repository_id, path);
      return place;
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
    }
  }
  return backup.status === 'completed' ? backup : (places[0] ?? copied[0] ?? backup);
}

/** The restore point in the repository that a request for it has recorded. @throws DomainError copy_not_found */
export async function recordedAt(dataSource: DataSource, backup: BackupReadModel, repositoryId: string): Promise<BackupReadModel> {
  if (repositoryId === backup.repository_id) return backup;
  const copied = asCopied(
    backup,
    (await copiesOf(dataSource, backup)).filter(({ repository_id }) => repository_id === repositoryId),
  );
  if (copied !== null) return copied;
  const { backup_id } = backup;
  throw new DomainError('not_found', 'copy_not_found', `Restore point ${backup_id} has no complete copy in repository ${repositoryId}.`, {
    backup_id,
    repository_id: repositoryId,
  });
}

/** The copy of a restore point in the repository that it is read from, and those that it depends on there, oldest first. @param backup as from `recordedAt` */
export async function copyAndParents(
  dataSource: DataSource,
  { backup_id, chain_id, repository_id }: Pick<BackupReadModel, 'backup_id' | 'chain_id' | 'repository_id'>,
): Promise<readonly CopyReadModel[]> {
  const copies = await copiesOf(dataSource, { chain_id });
  return copyLineage(
    backup_id,
    copies.filter((copy) => copy.repository_id === repository_id),
  );
}

/** Complete copies of the chain of a restore point, in all repositories. */
async function copiesOf(dataSource: DataSource, { chain_id }: Pick<BackupReadModel, 'chain_id'>): Promise<readonly CopyReadModel[]> {
  if (chain_id === null) return [];
  return dataSource.getRepository(CopyReadModel).find({ where: { chain_id, status: 'completed' }, order: { created_position: 'ASC' } });
}

/**
 * Refuses a chain in which files are being replaced, as a killed hub may have left it: which of the recorded hashes is the right one is not known yet.
 * @throws DomainError restore_point_being_rewritten
 */
export function refuseRewriting({ chain_id, rewriting }: Pick<ChainReadModel, 'chain_id' | 'rewriting'>): void {
  if (rewriting === null) return;
  throw new DomainError('unavailable', 'restore_point_being_rewritten', `The files of restore point ${rewriting} are being replaced. Try again in a moment.`, {
    backup_id: rewriting,
    chain_id,
  });
}

/** The repository that holds the backup's files. @throws DomainError repository_not_found */
export async function repositoryOf(dataSource: DataSource, backup: Pick<BackupReadModel, 'backup_id' | 'repository_id'>): Promise<RepositoryReadModel> {
  const repository = await dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id: backup.repository_id });
  if (repository !== null) return repository;
  throw new DomainError('not_found', 'repository_not_found', `The repository ${backup.repository_id} of backup ${backup.backup_id} was removed.`);
}

/**
 * Refuses a restore point that is damaged or depends on a damaged one, unless the caller allows it: the restored data may differ from what was backed up.
 * @throws DomainError restore_point_damaged
 */
export function refuseDamaged({ backup_id, damage }: Pick<BackupReadModel, 'backup_id' | 'damage'>, allowed: boolean): void {
  if (damage === null || allowed) return;
  const damaged = damage.caused_by_backup_id ?? backup_id;
  const where = damaged === backup_id ? 'it is damaged' : `it depends on restore point ${damaged}, which is damaged`;
  throw new DomainError(
    'conflict',
    'restore_point_damaged',
    `Restore point ${backup_id} cannot be trusted: ${where} (${damage.detail}). Choose an older restore point, or set allow_damaged to use this one as it is.`,
    { backup_id, damaged_backup_id: damaged, damage: damage.code, file: damage.file },
  );
}

/**
 * Looks up the restore point's chain once.
 * @returns a function that gives the files a disk is read from; see `sourceFilesOf`
 * @throws DomainError restore_point_being_rewritten
 */
export async function sourcesOf(
  dataSource: DataSource,
  { backup_id, chain_id, repository_id }: Pick<BackupReadModel, 'backup_id' | 'chain_id' | 'repository_id'>,
): Promise<(diskId: number) => readonly SourceFile[]> {
  const copies = (await copiesOf(dataSource, { chain_id })).filter((copy) => copy.repository_id === repository_id);
  if (copies.some((copy) => copy.backup_id === backup_id)) {
    const members = copies.map((copy): ChainMember => ({
      backup_id: copy.backup_id,
      folder: copy.folder ?? '',
      disks: copy.disks ?? [],
      files: copy.disks ?? [],
    }));
    return (diskId) => sourceFilesOf(backup_id, diskId, members);
  }
  const found = await dataSource.getRepository(ChainReadModel).findOneBy({ chain_id: chain_id ?? '' });
  if (found !== null) refuseRewriting(found);
  const rows = await dataSource.getRepository(BackupReadModel).findBy({ chain_id: chain_id ?? '', status: 'completed' });
  const chain = rows.map((row): ChainMember => ({ backup_id: row.backup_id, folder: row.folder ?? '', disks: row.disks, files: row.files ?? [] }));
  return (diskId) => sourceFilesOf(backup_id, diskId, chain);
}
