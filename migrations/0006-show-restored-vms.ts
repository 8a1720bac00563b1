import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Columns of restores into VMs. Existing rows are restores of disks. */
const COLUMNS: readonly string[] = [`kind text not null default 'disks'`, 'vm jsonb'];

/** Restores into VMs in addition to those into folders. */
export class ShowRestoredVms1795257000006 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const table = await liveTable(runner);
    for (const column of COLUMNS) await runner.query(`alter table ${table} add column ${column}`);
    await runner.query(`create or replace view read_models.restore_jobs as select * from ${table}`);
  }

  async down(runner: QueryRunner): Promise<void> {
    const table = await liveTable(runner);
    await runner.query('drop view read_models.restore_jobs');
    for (const column of COLUMNS) await runner.query(`alter table ${table} drop column ${column.split(' ')[0] ?? ''}`);
    await runner.query(`create view read_models.restore_jobs as select * from ${table}`);
  }
}

/** A rebuild may have created a later generation. Before the first start there is no checkpoint, and the first generation is live. */
async function liveTable(runner: QueryRunner): Promise<string> {
  // The driver does not type its rows.
  const rows = (await runner.query(`select generation from read_models.projection_checkpoints where projection = 'restore_jobs' and role = 'live'`)) as {
    readonly generation: number;
  }[];
  return `read_models.restore_jobs_g${rows[0]?.generation ?? 1}`;
}
