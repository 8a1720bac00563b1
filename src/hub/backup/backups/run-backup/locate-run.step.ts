import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import type { BackupRun } from '../model/backup.state.js';

/** Locates the VM, node and repository of a run; null if it is no longer registered. */
@Injectable()
export class LocateRun {
  constructor(
    private readonly dataSource: DataSource,
    private readonly readModels: ReadModels,
  ) {}

  async vm({ request }: BackupRun): Promise<Pick<VmReadModel, 'vm_id' | 'name' | 'source' | 'source_ref'> | null> {
    return this.dataSource
      .getRepository(VmReadModel)
      .findOne({ where: { vm_id: request.vm_id }, select: { vm_id: true, name: true, source: true, source_ref: true } });
  }

  async nodeUrl({ request }: BackupRun): Promise<string | null> {
    return (await this.dataSource.getRepository(NodeReadModel).findOneBy({ node_id: request.node_id }))?.url ?? null;
  }

  async repositoryPath({ request }: BackupRun): Promise<string | null> {
    return (await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id: request.repository_id }))?.path ?? null;
  }

  /** For how many days the restore point is locked, by what the repository demands now. */
  async immutableDays({ request }: BackupRun): Promise<number> {
    await this.readModels.current('repositories');
    return (await this.dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id: request.repository_id }))?.immutability_days ?? 0;
  }
}
