import { type IQueryHandler, QueryHandler } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { BackupReadModel } from '../../../projections/backups/backups.read-model.js';
import { EventStore } from '../../platform/event-store/event-store.port.js';
import { ReadModels } from '../../platform/postgres/read-models.js';
import { FindChangeIdsInUse } from '../model/backup.queries.js';

const READ_MODEL_PATIENCE_MS = 10_000;

@QueryHandler(FindChangeIdsInUse)
export class FindChangeIdsInUseHandler implements IQueryHandler<FindChangeIdsInUse, readonly string[]> {
  constructor(
    private readonly store: EventStore,
    private readonly dataSource: DataSource,
    private readonly readModels: ReadModels,
  ) {}

  /** Change ids of the newest restore point in each repository: what the VM's next incrementals start from. */
  async execute({ vmId }: FindChangeIdsInUse): Promise<readonly string[]> {
    const head = await this.store.head();
    if (head !== null) await this.readModels.waitFor(head, READ_MODEL_PATIENCE_MS, 'backups');
    const rows = await this.dataSource
      .getRepository(BackupReadModel)
      .createQueryBuilder('backup')
      .distinctOn(['backup.repository_id'])
      .where("backup.vm_id = :vmId and backup.status = 'completed'", { vmId })
      .orderBy('backup.repository_id')
      .addOrderBy('backup.created_position', 'DESC')
      .getMany();
    return rows.flatMap((row) => row.disks.flatMap((disk) => (disk.change_id === null ? [] : [disk.change_id])));
  }
}
