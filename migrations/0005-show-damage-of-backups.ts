import type { MigrationInterface, QueryRunner } from 'typeorm';

/** One additional column for each read model, after the existing columns of its view. */
const COLUMNS: readonly { readonly readModel: string; readonly column: string }[] = [
  { readModel: 'backups', column: 'damage jsonb' },
  { readModel: 'restore_jobs', column: `damaged_sources jsonb not null default '[]'` },
];

/** Damage of restore points, shown on backups and on restores from a damaged one. */
export class ShowDamageOfBackups1795257000005 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    for (const { readModel, column } of COLUMNS) {
      const table = await liveTable(runner, readModel);
      await runner.query(`alter table ${table} add column ${column}`);
      await runner.query(`create or replace view read_models.${readModel} as select * from ${table}`);
    }
    // The projection ignored damage that was recorded earlier, so it folds all events again when the hub starts.
    await runner.query(`delete from ${await liveTable(runner, 'backups')}`);
    await runner.query(
      `update read_models.projection_checkpoints set position = null, halted_position = null, halted_event_id = null, halted_error = null where projection = 'backups'`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const { readModel, column } of COLUMNS) {
      const table = await liveTable(runner, readModel);
      await runner.query(`drop view read_models.${readModel}`);
      await runner.query(`alter table ${table} drop column ${column.split(' ')[0] ?? ''}`);
      await runner.query(`create view read_models.${readModel} as select * from ${table}`);
    }
  }
}

/** A rebuild may have created a later generation. Before the first start there is no checkpoint, and the first generation is live. */
async function liveTable(runner: QueryRunner, readModel: string): Promise<string> {
  // The driver does not type its rows.
  const rows = (await runner.query(`select generation from read_models.projection_checkpoints where projection = $1 and role = 'live'`, [readModel])) as {
    readonly generation: number;
  }[];
  return `read_models.${readModel}_g${rows[0]?.generation ?? 1}`;
}
