import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The shape in which a generation was built; null for those of earlier versions, which are therefore built again. */
export class RecordShapesOfReadModels1795257000030 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('alter table read_models.projection_checkpoints add column shape text');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('alter table read_models.projection_checkpoints drop column shape');
  }
}
