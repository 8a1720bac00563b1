import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Additional columns, after the existing columns of the view. */
const COLUMNS: readonly string[] = ['quiesce jsonb', `left_out_disks jsonb not null default '[]'`];

/** The outcome of quiescing the guest, and the devices that the backup leaves out. */
export class ShowQuiescingOfBackups1795257000009 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const table = await liveTable(runner);
    for (const column of COLUMNS) await runner.query(`alter table ${table} add column ${column}`);
    await runner.query(`create or replace view read_models.backups as select * from ${table}`);
    // The projection ignored data that was recorded earlier, so it folds all events again when the hub starts.
    await runner.query(`delete from ${table}`);
    await runner.query(
      `update read_models.projection_checkpoints set position = null, halted_position = null, halted_event_id = null, halted_error = null where projection = 'backups'`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    const table = await liveTable(runner);
    await runner.query('drop view read_models.backups');
    for (const column of COLUMNS) await runner.query(`alter table ${table} drop column ${column.split(' ')[0] ?? ''}`);
    await runner.query(`create view read_models.backups as select * from ${table}`);
  }
}

/** A rebuild may have created a later generation. Before the first start there is no checkpoint, and the first generation is live. */
async function liveTable(runner: QueryRunner): Promise<string> {
  // The driver does not type its rows.
  const rows = (await runner.query(`select generation from read_models.projection_checkpoints where projection = 'backups' and role = 'live'`)) as {
    readonly generation: number;
  }[];
  return `read_models.backups_g${rows[0]?.generation ?? 1}`;
}
