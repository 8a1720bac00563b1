import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Row counts per value of a column, which a projection maintains so that readers need not count. The name is that of the earlier, larger migration. */
export class IndexReadModelsForLongHistories1795257000024 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table read_models.projection_tallies (
        projection text    not null,
        generation integer not null,
        value      text    not null,
        rows       bigint  not null,
        primary key (projection, generation, value)
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table read_models.projection_tallies');
  }
}
