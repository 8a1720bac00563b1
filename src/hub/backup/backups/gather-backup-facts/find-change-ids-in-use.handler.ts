import { type IQueryHandler, QueryHandler } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../../../projections/backups/backups.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { EventStore } from '../../../store/event-store/event-store.port.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { FindChangeIdsInUse } from '../model/backup.queries.js';

const READ_MODEL_PATIENCE_MS = 10_000;

@QueryHandler(FindChangeIdsInUse)
export class FindChangeIdsInUseHandler implements IQueryHandler<FindChangeIdsInUse, readonly string[]> {
  constructor(
    private readonly store: EventStore,
    private readonly dataSource: DataSource,
    private readonly readModels: ReadModels,
  ) {}

  /** Change ids of the newest restore point in each repository. The VM's next incrementals start from these. */
  async execute({ vmId }: FindChangeIdsInUse): Promise<readonly string[]> {
    const head = await this.store.head();
    if (head !== null) await Promise.all(['backups', 'repositories'].map((name) => this.readModels.waitFor(head, READ_MODEL_PATIENCE_MS, name)));
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
