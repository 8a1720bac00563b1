import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Columns of each read model, without the position that they all have. `text collate "C"` if positions are compared. */
const READ_MODELS: Readonly<Record<string, readonly string[]>> = {
  backups: [
    'backup_id text primary key',
    'vm_id text not null',
    'vm_name text not null',
    'node_id text not null',
    'repository_id text not null',
    'policy_id text',
    'backup_type text not null',
    'status text not null',
    'current_phase text not null',
    'waiting_for text',
    'waiting_detail text',
    'full_reason text',
    'full_reason_detail text',
    'chain_id text',
    'parent_backup_id text',
    'folder text',
    'files jsonb',
    'manifest_sha256 text',
    'instant timestamptz',
    'progress_percent double precision not null',
    'bytes_transferred bigint not null',
    'total_bytes bigint not null',
    'transfer_speed_bps bigint',
    'eta_seconds bigint',
    'disks jsonb not null',
    'exports jsonb not null',
    'export_ids text[] not null',
    'nbd_targets_string text',
    'error jsonb',
    'change_tracking text',
    'undone boolean not null',
    'files_removed boolean not null',
    'created_at timestamptz not null',
    'started_at timestamptz',
    'transfer_started_at timestamptz',
    'silent_since timestamptz',
    'completed_at timestamptz',
    'deleted_at timestamptz',
    'created_position text collate "C" not null',
  ],
  chains: [
    'chain_id text primary key',
    'vm_id text not null',
    'repository_id text not null',
    'full_backup_id text not null',
    'head_backup_id text',
    'points jsonb not null',
    'damaged boolean not null',
    'started_position text collate "C" not null',
  ],
  vms: [
    'vm_id text primary key',
    'name text not null',
    'node_id text not null',
    'source text not null',
    'source_ref text not null',
    'disks jsonb not null',
    'total_size_bytes bigint not null',
    'registered_at timestamptz not null',
    'disks_observed_at timestamptz not null',
  ],
  repositories: ['repository_id text primary key', 'name text not null', 'type text not null', 'path text not null', 'created_at timestamptz not null'],
  nodes: [
    'node_id text primary key',
    'name text not null',
    'url text not null',
    'state text not null',
    'version text',
    'error jsonb',
    'state_since timestamptz',
    'registered_at timestamptz not null',
  ],
  nbd_ports: ['port integer primary key', 'state text not null', 'job_id text', 'export_name text', 'since timestamptz not null'],
  nbd_exports: [
    'export_id text primary key',
    'job_id text not null',
    'export_name text not null',
    'port integer not null',
    'file text not null',
    'read_only boolean not null',
    'shared_limit integer not null',
    'state text not null',
    'pid integer',
    'process_start_ticks text',
    'boot_id text',
    'error_code text',
    'exit_code integer',
    'stderr text',
    'requested_at timestamptz not null',
    'started_at timestamptz',
    'ended_at timestamptz',
  ],
  audit_events: [
    'log_position text collate "C" primary key',
    'event_id text not null',
    'stream text not null',
    'category text not null',
    'revision bigint not null',
    'type text not null',
    'actor text not null',
    'correlation_id text not null',
    'causation_id text not null',
    'hub_id text not null',
    'schema_version integer not null',
    'time timestamptz not null',
    'recorded_at timestamptz not null',
    'data jsonb not null',
  ],
};

const INDEXES: readonly string[] = [
  'backups_g1 (created_position)',
  'backups_g1 (vm_name, created_position)',
  'backups_g1 (vm_id, created_position)',
  'backups_g1 (repository_id, created_position)',
  'backups_g1 (status, created_position)',
  'backups_g1 (created_at)',
  'backups_g1 using gin (export_ids)',
  'chains_g1 (vm_id, started_position)',
  'chains_g1 (full_backup_id)',
  'vms_g1 (name)',
  'repositories_g1 (name)',
  'nbd_exports_g1 (job_id)',
  'nbd_exports_g1 (state)',
  'audit_events_g1 (stream, revision)',
  'audit_events_g1 (category, log_position)',
  'audit_events_g1 (type, log_position)',
  'audit_events_g1 (actor, log_position)',
  'audit_events_g1 (correlation_id, log_position)',
  'audit_events_g1 (time)',
];

/**
 * The read models: a table per generation, and a view over the live generation. A rebuild fills a new generation next to it and replaces
 * the view, so that readers never see a half-filled table.
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
    for (const [name, columns] of Object.entries(READ_MODELS)) {
      await runner.query(`create table read_models.${name}_g1 (${columns.join(', ')}, position text collate "C" not null)`);
      await runner.query(`create view read_models.${name} as select * from read_models.${name}_g1`);
    }
    for (const index of INDEXES) await runner.query(`create index on read_models.${index}`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop schema read_models cascade');
  }
}
