import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Why a VM cannot be backed up. Earlier events contain no such data, so existing rows stay unchanged. */
export class ShowProblemsOfVms1795257000025 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const table = await liveTable(runner);
    await runner.query(`alter table ${table} add column problem jsonb`);
    await runner.query(`create or replace view read_models.vms as select * from ${table}`);
  }

  async down(runner: QueryRunner): Promise<void> {
    const table = await liveTable(runner);
    await runner.query('drop view read_models.vms');
    await runner.query(`alter table ${table} drop column problem`);
    await runner.query(`create view read_models.vms as select * from ${table}`);
  }
}

/** A rebuild may have created a later generation. Before the first start there is no checkpoint, and the first generation is live. */
async function liveTable(runner: QueryRunner): Promise<string> {
  // The driver does not type its rows.
  const rows = (await runner.query(`select generation from read_models.projection_checkpoints where projection = 'vms' and role = 'live'`)) as {
    readonly generation: number;
  }[];
  return `read_models.vms_g${rows[0]?.generation ?? 1}`;
}
