import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The newest event that a generation was filled with (`HistoryWitness`); null for those of earlier versions. */
export class RecordWitnessesOfReadModels1795257000041 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('alter table read_models.projection_checkpoints add column witness jsonb');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('alter table read_models.projection_checkpoints drop column witness');
  }
}
