import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What makes a row of a restore into a VM. Those that are there are of disks. */
const COLUMNS: readonly string[] = [`kind text not null default 'disks'`, 'vm jsonb'];

/** Restores into VMs beside those into folders. */
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

/** A rebuild leaves a later generation; before the first start there is no checkpoint, and the first generation is live. */
async function liveTable(runner: QueryRunner): Promise<string> {
  // The driver's rows have no type of their own.
  const rows = (await runner.query(`select generation from read_models.projection_checkpoints where projection = 'restore_jobs' and role = 'live'`)) as {
    readonly generation: number;
  }[];
  return `read_models.restore_jobs_g${rows[0]?.generation ?? 1}`;
}
