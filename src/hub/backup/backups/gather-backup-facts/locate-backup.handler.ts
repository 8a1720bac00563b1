import { type IQueryHandler, QueryHandler } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { NodeReadModel } from '../../../../../projections/nodes/nodes.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import { type BackupLocation, LocateBackup } from '../model/backup.queries.js';

@QueryHandler(LocateBackup)
export class LocateBackupHandler implements IQueryHandler<LocateBackup, BackupLocation> {
  constructor(private readonly dataSource: DataSource) {}

  async execute(query: LocateBackup): Promise<BackupLocation> {
    const [vm, node, repository] = await Promise.all([
      this.dataSource.getRepository(VmReadModel).findOneBy({ vm_id: query.vmId }),
      this.dataSource.getRepository(NodeReadModel).findOneBy({ node_id: query.nodeId }),
      this.dataSource.getRepository(RepositoryReadModel).findOneBy({ repository_id: query.repositoryId }),
    ]);
    return {
      vm: vm === null ? null : { vm_id: vm.vm_id, name: vm.name, source: vm.source, source_ref: vm.source_ref },
      node_url: node?.url ?? null,
      repository_path: repository?.path ?? null,
    };
  }
}
