import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Read models of whole-disk restores, instant access and verification, in the same form as in the second migration. */
const READ_MODELS: Readonly<Record<string, readonly string[]>> = {
  restore_jobs: [
    'job_id text primary key',
    'backup_id text not null',
    'vm_id text not null',
    'vm_name text not null',
    'repository_id text not null',
    'target_path text not null',
    'format text not null',
    'chain text not null',
    'overwrite boolean not null',
    'status text not null',
    'disks jsonb not null',
    'sources_verified boolean not null',
    'files jsonb not null',
    'error jsonb',
    'cleaned_up boolean not null',
    'requested_at timestamptz not null',
    'ended_at timestamptz',
    'created_position text collate "C" not null',
  ],
  verifications: [
    'verification_id text primary key',
    'backup_id text not null',
    'vm_id text not null',
    'vm_name text not null',
    'repository_id text not null',
    'chain_id text not null',
    'status text not null',
    'findings jsonb not null',
    'files_checked integer',
    'bytes_checked bigint',
    'error jsonb',
    'requested_at timestamptz not null',
    'ended_at timestamptz',
    'created_position text collate "C" not null',
  ],
  restore_exports: [
    'export_id text primary key',
    'backup_id text not null',
    'vm_id text not null',
    'vm_name text not null',
    'disk_index integer not null',
    'mode text not null',
    'status text not null',
    'uri text',
    'nbd_port integer',
    'export_name text not null',
    'error jsonb',
    'end_reason text',
    'cleaned_up boolean not null',
    'requested_at timestamptz not null',
    'expires_at timestamptz not null',
    'ended_at timestamptz',
    'created_position text collate "C" not null',
  ],
};

const INDEXES: readonly string[] = [
  'restore_jobs_g1 (created_position)',
  'restore_jobs_g1 (backup_id)',
  'restore_jobs_g1 (cleaned_up)',
  'verifications_g1 (backup_id, created_position)',
  'verifications_g1 (status)',
  'restore_exports_g1 (created_position)',
  'restore_exports_g1 (backup_id)',
  'restore_exports_g1 (cleaned_up)',
];

export class CreateWholeDiskRestores1795257000004 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    for (const [name, columns] of Object.entries(READ_MODELS)) {
      await runner.query(`create table read_models.${name}_g1 (${columns.join(', ')}, position text collate "C" not null)`);
      await runner.query(`create view read_models.${name} as select * from read_models.${name}_g1`);
    }
    for (const index of INDEXES) await runner.query(`create index on read_models.${index}`);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const name of Object.keys(READ_MODELS)) {
      await runner.query(`drop view read_models.${name}`);
      await runner.query(`drop table read_models.${name}_g1`);
    }
  }
}
