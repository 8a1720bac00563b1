import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Every export event of a batch looks up a backup by its export. Each lookup scanned the GIN index's whole list of pending entries, which took most of the
 * time of a rebuild. Without the list a lookup costs one descent of the tree.
 */
export class KeepGinIndexesCurrent1795257000027 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    for (const index of await ginIndexes(runner)) {
      await runner.query(`alter index ${index} set (fastupdate = off)`);
      await runner.query('select gin_clean_pending_list($1::regclass)', [index]);
    }
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const index of await ginIndexes(runner)) await runner.query(`alter index ${index} reset (fastupdate)`);
  }
}

async function ginIndexes(runner: QueryRunner): Promise<readonly string[]> {
  const rows = (await runner.query(
    `select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_am a on a.oid = c.relam
      where n.nspname = 'read_models' and c.relkind = 'i' and a.amname = 'gin'`,
  )) as { readonly name: string }[];
  return rows.map(({ name }) => name);
}
