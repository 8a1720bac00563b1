import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Where each generation of a read model stands. Tables and views of the read models are derived from their definitions. Databases of earlier versions also
 * ran migrations that are gone from here and created them; the class keeps the name under which such databases remember it.
 */
export class CreateReadModels1795257000002 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('create schema read_models');
    await runner.query(`
      create table read_models.projection_checkpoints (
        projection      text        not null,
        generation      integer     not null,
        role            text        not null check (role in ('live', 'building')),
        position        text        collate "C",
        halted_position text,
        halted_event_id text,
        halted_error    text,
        updated_at      timestamptz not null default now(),
        primary key (projection, generation)
      )`);
    await runner.query(`create unique index projection_checkpoints_one_live on read_models.projection_checkpoints (projection) where role = 'live'`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop schema read_models cascade');
  }
}
