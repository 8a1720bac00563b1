import { type DataSource, In } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';
import { NbdExportReadModel } from '../../../../../projections/nbd-exports/nbd-exports.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { RestoreJobReadModel } from '../../../../../projections/restore-jobs/restore-jobs.read-model.js';
import { RestoreMountReadModel } from '../../../../../projections/restore-mounts/restore-mounts.read-model.js';
import { VerificationReadModel } from '../../../../../projections/verifications/verifications.read-model.js';

/** Read models that usesOfRepository reads; the caller waits for them. */
export const USE_READ_MODELS = ['backups', 'copies', 'nbd_exports', 'restore_jobs', 'restore_mounts', 'verifications'] as const;

/** Work that has the path of a repository, or has files of it open, in words. */
export async function usesOfRepository(dataSource: DataSource, repositoryId: string): Promise<readonly string[]> {
  const repository_id = repositoryId;
  const path = (await dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id }))?.path ?? null;
  const [backups, copies, exports, restores, mounts, verifications] = await Promise.all([
    dataSource.getRepository(BackupReadModel).findBy([
      { repository_id, status: In(['pending', 'running']) },
      { repository_id, status: In(['failed', 'cancelled']), undone: false },
      { repository_id, status: 'deleted', files_removed: false },
    ]),
    dataSource.getRepository(CopyReadModel).findBy([
      { repository_id, status: In(['pending', 'running']) },
      { repository_id, status: In(['failed', 'cancelled', 'deleted']), removed: false },
      { source_repository_id: repository_id, status: In(['pending', 'running']) },
    ]),
    path === null ? [] : dataSource.getRepository(NbdExportReadModel).findBy({ state: In(['starting', 'running']) }),
    dataSource.getRepository(RestoreJobReadModel).findBy([
      { repository_id, status: 'running' },
      { repository_id, cleaned_up: false },
    ]),
    dataSource.getRepository(RestoreMountReadModel).findBy({ repository_id, status: In(['mounting', 'mounted', 'unmounting']) }),
    dataSource.getRepository(VerificationReadModel).findBy({ repository_id, status: 'running' }),
  ]);
  return [
    ...backups.map(({ backup_id }) => `backup ${backup_id}`),
    ...copies.map(({ copy_id }) => `copy ${copy_id}`),
    ...exports.filter(({ file }) => file.startsWith(`${path}/`)).map(({ export_id }) => `export ${export_id}`),
    ...restores.map(({ job_id }) => `restore ${job_id}`),
    ...mounts.map(({ mount_id }) => `mount ${mount_id}`),
    ...verifications.map(({ verification_id }) => `verification ${verification_id}`),
  ];
}
