import type { MigrationInterface, QueryRunner } from 'typeorm';

const COLUMNS: readonly string[] = ['boot jsonb'];

/** Results of boot checks in verifications. Existing rows have none. */
export class ShowBootChecks1795257000007 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const table = await liveTable(runner);
    for (const column of COLUMNS) await runner.query(`alter table ${table} add column ${column}`);
    await runner.query(`create or replace view read_models.verifications as select * from ${table}`);
  }

  async down(runner: QueryRunner): Promise<void> {
    const table = await liveTable(runner);
    await runner.query('drop view read_models.verifications');
    for (const column of COLUMNS) await runner.query(`alter table ${table} drop column ${column.split(' ')[0] ?? ''}`);
    await runner.query(`create view read_models.verifications as select * from ${table}`);
  }
}

/** A rebuild may have created a later generation. Before the first start there is no checkpoint, and the first generation is live. */
async function liveTable(runner: QueryRunner): Promise<string> {
  // The driver does not type its rows.
  const rows = (await runner.query(`select generation from read_models.projection_checkpoints where projection = 'verifications' and role = 'live'`)) as {
    readonly generation: number;
  }[];
  return `read_models.verifications_g${rows[0]?.generation ?? 1}`;
}
