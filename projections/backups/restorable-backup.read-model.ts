import type { DataSource } from 'typeorm';
import { DomainError } from '../../src/kernel/domain-error.js';
import type { ReadModels } from '../../src/hub/store/postgres/read-models.js';
import { RepositoryReadModel } from '../repositories/repositories.read-model.js';
import { BackupReadModel } from './backups.read-model.js';

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

/** The repository that holds the backup's files. @throws DomainError repository_not_found */
export async function repositoryOf(dataSource: DataSource, backup: Pick<BackupReadModel, 'backup_id' | 'repository_id'>): Promise<RepositoryReadModel> {
  const repository = await dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id: backup.repository_id });
  if (repository !== null) return repository;
  throw new DomainError('not_found', 'repository_not_found', `The repository ${backup.repository_id} of backup ${backup.backup_id} was removed.`);
}
