import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Tunnels as reported by the nodes. */
export class ShowTunnelsOfNodes1795257000010 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const table = await liveTable(runner);
    await runner.query(`alter table ${table} add column tunnel jsonb`);
    await runner.query(`create or replace view read_models.nodes as select * from ${table}`);
  }

  async down(runner: QueryRunner): Promise<void> {
    const table = await liveTable(runner);
    await runner.query('drop view read_models.nodes');
    await runner.query(`alter table ${table} drop column tunnel`);
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
