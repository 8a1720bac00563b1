import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { ReadModels } from '../../../store/postgres/read-models.js';

/** The change ids that the next incrementals start from. */
@Injectable()
export class ChangeIdsInUse {
  constructor(
    private readonly dataSource: DataSource,
    private readonly readModels: ReadModels,
  ) {}

  /** Those of the VM's newest restore point in each repository. */
  async of(vmId: string): Promise<readonly string[]> {
    await this.readModels.current('backups', 'repositories');
    // One index lookup per repository, because a VM may have thousands of restore points.
    const repositories = await this.dataSource.getRepository(RepositoryReadModel).find();
    const newest = await Promise.all(
      repositories.map(({ repository_id }) =>
        this.dataSource
          .getRepository(BackupReadModel)
          .findOne({ where: { vm_id: vmId, repository_id, status: 'completed' }, order: { created_position: 'DESC' } }),
      ),
    );
    return newest.flatMap((row) => row?.disks.flatMap((disk) => (disk.change_id === null ? [] : [disk.change_id])) ?? []);
  }
}
