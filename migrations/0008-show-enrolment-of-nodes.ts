import type { MigrationInterface, QueryRunner } from 'typeorm';

const COLUMNS: readonly string[] = ['enrolment jsonb'];

/** Enrolment of nodes with keys of their own. Existing nodes were registered by their address. */
export class ShowEnrolmentOfNodes1795257000008 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const table = await liveTable(runner);
    for (const column of COLUMNS) await runner.query(`alter table ${table} add column ${column}`);
    await runner.query(`create or replace view read_models.nodes as select * from ${table}`);
  }

  async down(runner: QueryRunner): Promise<void> {
    const table = await liveTable(runner);
    await runner.query('drop view read_models.nodes');
    for (const column of COLUMNS) await runner.query(`alter table ${table} drop column ${column.split(' ')[0] ?? ''}`);
    await runner.query(`create view read_models.nodes as select * from ${table}`);
  }
}

/** A rebuild may have created a later generation. Before the first start there is no checkpoint, and the first generation is live. */
async function liveTable(runner: QueryRunner): Promise<string> {
  // The driver does not type its rows.
  const rows = (await runner.query(`select generation from read_models.projection_checkpoints where projection = 'nodes' and role = 'live'`)) as {
    readonly generation: number;
  }[];
  return `read_models.nodes_g${rows[0]?.generation ?? 1}`;
}
