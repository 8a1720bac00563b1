import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Indexes that spare every query a scan of the whole table, however long the history is. */
const INDEXES: Readonly<Record<string, readonly string[]>> = {
  backups: [
    '(chain_id) where chain_id is not null',
    '(parent_backup_id) where parent_backup_id is not null',
    '(backup_type, created_position)',
    `(vm_name, completed_at) where status = 'completed'`,
    `(vm_id, repository_id, created_position) where status = 'completed'`,
    `(vm_id, created_position) where status in ('pending', 'running') or (status = 'completed' and change_tracking is null)
       or (status in ('failed', 'cancelled') and (not undone or (nbd_targets_string is not null and change_tracking is null)))
       or (status = 'deleted' and not files_removed)`,
  ],
  // The first index replaces the one on (time) alone.
  audit_events: ['(time, log_position)', '(type, actor, log_position)', '(category, actor, log_position)'],
};

/** Indexes, and row counts per value of a column, which the projection maintains so that readers need not count. */
export class IndexReadModelsForLongHistories1795257000024 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    for (const [readModel, indexes] of Object.entries(INDEXES)) {
      const generation = await liveGeneration(runner, readModel);
      for (const index of indexes) await runner.query(`create index on read_models.${readModel}_g${generation} ${index}`);
    }
    for (const { indexname } of await indexesOnTimeAlone(runner)) await runner.query(`drop index read_models."${indexname}"`);
    await runner.query(`
      create table read_models.projection_tallies (
        projection text    not null,
        generation integer not null,
        value      text    not null,
        rows       bigint  not null,
        primary key (projection, generation, value)
      )`);
    const backups = await liveGeneration(runner, 'backups');
    await runner.query(
      `insert into read_models.projection_tallies select 'backups', ${backups}, status, count(*) from read_models.backups_g${backups} group by status`,
    );
  }

  /** The indexes stay: an older version does not use them, but they do no harm. */
  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table read_models.projection_tallies');
  }
}

/** A rebuild may have created a later generation. Before the first start there is no checkpoint, and the first generation is live. */
async function liveGeneration(runner: QueryRunner, readModel: string): Promise<number> {
  // The driver does not type its rows.
  const rows = (await runner.query(`select generation from read_models.projection_checkpoints where projection = $1 and role = 'live'`, [readModel])) as {
    readonly generation: number;
  }[];
  return rows[0]?.generation ?? 1;
}

async function indexesOnTimeAlone(runner: QueryRunner): Promise<readonly { readonly indexname: string }[]> {
  return (await runner.query(
    `select indexname from pg_indexes where schemaname = 'read_models' and tablename like 'audit_events_g%' and indexdef like '%("time")'`,
  )) as { readonly indexname: string }[];
}
