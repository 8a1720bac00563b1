import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The schema of the views through which a request with `as_of` sees each read model. */
export class CreateSchemaOfPastReadModels1795257000031 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('create schema read_models_as_of');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop schema read_models_as_of cascade');
  }
}
