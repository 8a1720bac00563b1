import type { MigrationInterface, QueryRunner } from 'typeorm';

const COLUMNS: readonly string[] = [
  'mount_id text primary key',
  'backup_id text not null',
  'vm_id text not null',
  'vm_name text not null',
  'repository_id text not null',
  'disk_index integer not null',
  'partition integer',
  'status text not null',
  'driver text',
  'device text',
  'mount_path text',
  'filesystem_type text',
  'partitions jsonb not null',
  'resources jsonb not null',
  'error jsonb',
  'unmount_reason text',
  'abandoned_calls integer not null',
  'created_at timestamptz not null',
  'ready_at timestamptz',
  'accessed_at timestamptz',
  'expires_at timestamptz',
  'released_at timestamptz',
  'created_position text collate "C" not null',
];

const INDEXES: readonly string[] = ['(created_position)', '(status, created_position)', '(backup_id)'];

/** The read model of mounts: a table of its first generation, and the view over the live generation. */
export class CreateRestoreMountsReadModel1795257000003 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`create table read_models.restore_mounts_g1 (${COLUMNS.join(', ')}, position text collate "C" not null)`);
    await runner.query('create view read_models.restore_mounts as select * from read_models.restore_mounts_g1');
    for (const index of INDEXES) await runner.query(`create index on read_models.restore_mounts_g1 ${index}`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop view read_models.restore_mounts');
    await runner.query('drop table read_models.restore_mounts_g1');
  }
}
