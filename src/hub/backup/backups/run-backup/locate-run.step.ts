import type { QueryBus } from '@nestjs/cqrs';
import { type BackupLocation, LocateBackup } from '../model/backup.queries.js';
import type { BackupRun } from '../model/backup.state.js';

/** Locates the node, repository and VM of a run. */
export async function locateRun(queries: QueryBus, run: BackupRun): Promise<BackupLocation> {
  const { vm_id, node_id, repository_id } = run.request;
  return queries.execute<LocateBackup, BackupLocation>(new LocateBackup(vm_id, node_id, repository_id));
}
