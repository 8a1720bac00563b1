import { type DataSource, In, MoreThan } from 'typeorm';
import { CopyReadModel } from '../../../../../projections/copies/copies.read-model.js';

/** A copy that is under way keeps its source for this long; afterwards the source may be pruned or deleted, and the copy is planned again or fails. */
const KEEPS_SOURCE_MS = 24 * 60 * 60_000;

/** Copies that still read one of these restore points and keep it from being removed or rewritten, in words. The caller waits for the read model. */
export async function copiesReading(dataSource: DataSource, backupIds: readonly string[], now: Date): Promise<readonly string[]> {
  const copies = await dataSource.getRepository(CopyReadModel).findBy({
    backup_id: In([...backupIds]),
    status: In(['pending', 'running']),
    requested_at: MoreThan(new Date(now.getTime() - KEEPS_SOURCE_MS)),
  });
  return copies.filter(({ verified_at }) => verified_at === null).map(({ copy_id }) => `copy ${copy_id}`);
}
