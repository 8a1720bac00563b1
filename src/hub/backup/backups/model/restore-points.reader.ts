import type { DataSource } from 'typeorm';
import { DomainError } from '../../../../kernel/domain-error.js';
import type { SourceFile } from '../../../restore/restore-jobs/model/restore-job.events.js';
import type { ReadModels } from '../../../store/postgres/read-models.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { ChainReadModel } from '../../../../../projections/chains/chains.read-model.js';
import { type ChainMember, sourceFilesOf } from './source-files.plan.js';

/**
 * Waits until the read model has caught up before it reads the backup, because its deletion may just have been recorded.
 * @throws DomainError backup_not_found, backup_not_restorable
 */
export async function restorableBackup(readModels: ReadModels, dataSource: DataSource, backupId: string): Promise<BackupReadModel> {
  await readModels.current('backups');
  const backup = await dataSource.getRepository(BackupReadModel).findOneBy({ backup_id: backupId });
  if (backup === null) throw new DomainError('not_found', 'backup_not_found', `There is no backup ${backupId}.`, { backup_id: backupId });
  if (backup.status !== 'completed') {
    throw new DomainError('conflict', 'backup_not_restorable', `Backup ${backupId} is ${backup.status}; only a completed backup can be restored.`, {
      backup_id: backupId,
      status: backup.status,
    });
  }
  return backup;
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
  { backup_id, chain_id }: Pick<BackupReadModel, 'backup_id' | 'chain_id'>,
): Promise<(diskId: number) => readonly SourceFile[]> {
  const found = await dataSource.getRepository(ChainReadModel).findOneBy({ chain_id: chain_id ?? '' });
  if (found !== null) refuseRewriting(found);
  const rows = await dataSource.getRepository(BackupReadModel).findBy({ chain_id: chain_id ?? '', status: 'completed' });
  const chain = rows.map((row): ChainMember => ({ backup_id: row.backup_id, folder: row.folder ?? '', disks: row.disks, files: row.files ?? [] }));
  return (diskId) => sourceFilesOf(backup_id, diskId, chain);
}
