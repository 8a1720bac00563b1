-- The read models of version 0.1.0 before their tables were derived from definitions: what its migrations ran on an empty database, in order.
-- CreateReadModels1795257000002
create schema read_models;
create table read_models.projection_checkpoints ( projection text not null, generation integer not null, role text not null check (role in ('live', 'building')), position text collate "C", halted_position text, halted_event_id text, halted_error text, updated_at timestamptz not null default now(), primary key (projection, generation) );
create unique index projection_checkpoints_one_live on read_models.projection_checkpoints (projection) where role = 'live';
create table read_models.backups_g1 (backup_id text primary key, vm_id text not null, vm_name text not null, node_id text not null, repository_id text not null, policy_id text, backup_type text not null, status text not null, current_phase text not null, waiting_for text, waiting_detail text, full_reason text, full_reason_detail text, chain_id text, parent_backup_id text, folder text, files jsonb, manifest_sha256 text, instant timestamptz, progress_percent double precision not null, bytes_transferred bigint not null, total_bytes bigint not null, transfer_speed_bps bigint, eta_seconds bigint, disks jsonb not null, exports jsonb not null, export_ids text[] not null, nbd_targets_string text, error jsonb, change_tracking text, undone boolean not null, files_removed boolean not null, created_at timestamptz not null, started_at timestamptz, transfer_started_at timestamptz, silent_since timestamptz, completed_at timestamptz, deleted_at timestamptz, created_position text collate "C" not null, position text collate "C" not null);
create view read_models.backups as select * from read_models.backups_g1;
create table read_models.chains_g1 (chain_id text primary key, vm_id text not null, repository_id text not null, full_backup_id text not null, head_backup_id text, points jsonb not null, damaged boolean not null, started_position text collate "C" not null, position text collate "C" not null);
create view read_models.chains as select * from read_models.chains_g1;
create table read_models.vms_g1 (vm_id text primary key, name text not null, node_id text not null, source text not null, source_ref text not null, disks jsonb not null, total_size_bytes bigint not null, registered_at timestamptz not null, disks_observed_at timestamptz not null, position text collate "C" not null);
create view read_models.vms as select * from read_models.vms_g1;
create table read_models.repositories_g1 (repository_id text primary key, name text not null, type text not null, path text not null, created_at timestamptz not null, position text collate "C" not null);
create view read_models.repositories as select * from read_models.repositories_g1;
create table read_models.nodes_g1 (node_id text primary key, name text not null, url text not null, state text not null, version text, error jsonb, state_since timestamptz, registered_at timestamptz not null, position text collate "C" not null);
create view read_models.nodes as select * from read_models.nodes_g1;
create table read_models.nbd_ports_g1 (port integer primary key, state text not null, job_id text, export_name text, since timestamptz not null, position text collate "C" not null);
create view read_models.nbd_ports as select * from read_models.nbd_ports_g1;
create table read_models.nbd_exports_g1 (export_id text primary key, job_id text not null, export_name text not null, port integer not null, file text not null, read_only boolean not null, shared_limit integer not null, state text not null, pid integer, process_start_ticks text, boot_id text, error_code text, exit_code integer, stderr text, requested_at timestamptz not null, started_at timestamptz, ended_at timestamptz, position text collate "C" not null);
create view read_models.nbd_exports as select * from read_models.nbd_exports_g1;
create table read_models.audit_events_g1 (log_position text collate "C" primary key, event_id text not null, stream text not null, category text not null, revision bigint not null, type text not null, actor text not null, correlation_id text not null, causation_id text not null, hub_id text not null, schema_version integer not null, time timestamptz not null, recorded_at timestamptz not null, data jsonb not null, position text collate "C" not null);
create view read_models.audit_events as select * from read_models.audit_events_g1;
create index on read_models.backups_g1 (created_position);
create index on read_models.backups_g1 (vm_name, created_position);
create index on read_models.backups_g1 (vm_id, created_position);
create index on read_models.backups_g1 (repository_id, created_position);
create index on read_models.backups_g1 (status, created_position);
create index on read_models.backups_g1 (created_at);
create index on read_models.backups_g1 using gin (export_ids);
create index on read_models.chains_g1 (vm_id, started_position);
create index on read_models.chains_g1 (full_backup_id);
create index on read_models.vms_g1 (name);
create index on read_models.repositories_g1 (name);
create index on read_models.nbd_exports_g1 (job_id);
create index on read_models.nbd_exports_g1 (state);
create index on read_models.audit_events_g1 (stream, revision);
create index on read_models.audit_events_g1 (category, log_position);
create index on read_models.audit_events_g1 (type, log_position);
create index on read_models.audit_events_g1 (actor, log_position);
create index on read_models.audit_events_g1 (correlation_id, log_position);
create index on read_models.audit_events_g1 (time);
-- CreateRestoreMountsReadModel1795257000003
create table read_models.restore_mounts_g1 (mount_id text primary key, backup_id text not null, vm_id text not null, vm_name text not null, repository_id text not null, disk_index integer not null, partition integer, status text not null, driver text, device text, mount_path text, filesystem_type text, partitions jsonb not null, resources jsonb not null, error jsonb, unmount_reason text, abandoned_calls integer not null, created_at timestamptz not null, ready_at timestamptz, accessed_at timestamptz, expires_at timestamptz, released_at timestamptz, created_position text collate "C" not null, position text collate "C" not null);
create view read_models.restore_mounts as select * from read_models.restore_mounts_g1;
create index on read_models.restore_mounts_g1 (created_position);
create index on read_models.restore_mounts_g1 (status, created_position);
create index on read_models.restore_mounts_g1 (backup_id);
-- CreateWholeDiskRestores1795257000004
create table read_models.restore_jobs_g1 (job_id text primary key, backup_id text not null, vm_id text not null, vm_name text not null, repository_id text not null, target_path text not null, format text not null, chain text not null, overwrite boolean not null, status text not null, disks jsonb not null, sources_verified boolean not null, files jsonb not null, error jsonb, cleaned_up boolean not null, requested_at timestamptz not null, ended_at timestamptz, created_position text collate "C" not null, position text collate "C" not null);
create view read_models.restore_jobs as select * from read_models.restore_jobs_g1;
create table read_models.verifications_g1 (verification_id text primary key, backup_id text not null, vm_id text not null, vm_name text not null, repository_id text not null, chain_id text not null, status text not null, findings jsonb not null, files_checked integer, bytes_checked bigint, error jsonb, requested_at timestamptz not null, ended_at timestamptz, created_position text collate "C" not null, position text collate "C" not null);
create view read_models.verifications as select * from read_models.verifications_g1;
create table read_models.restore_exports_g1 (export_id text primary key, backup_id text not null, vm_id text not null, vm_name text not null, disk_index integer not null, mode text not null, status text not null, uri text, nbd_port integer, export_name text not null, error jsonb, end_reason text, cleaned_up boolean not null, requested_at timestamptz not null, expires_at timestamptz not null, ended_at timestamptz, created_position text collate "C" not null, position text collate "C" not null);
create view read_models.restore_exports as select * from read_models.restore_exports_g1;
create index on read_models.restore_jobs_g1 (created_position);
create index on read_models.restore_jobs_g1 (backup_id);
create index on read_models.restore_jobs_g1 (cleaned_up);
create index on read_models.verifications_g1 (backup_id, created_position);
create index on read_models.verifications_g1 (status);
create index on read_models.restore_exports_g1 (created_position);
create index on read_models.restore_exports_g1 (backup_id);
create index on read_models.restore_exports_g1 (cleaned_up);
-- ShowDamageOfBackups1795257000005
alter table read_models.backups_g1 add column damage jsonb;
create or replace view read_models.backups as select * from read_models.backups_g1;
alter table read_models.restore_jobs_g1 add column damaged_sources jsonb not null default '[]';
create or replace view read_models.restore_jobs as select * from read_models.restore_jobs_g1;
delete from read_models.backups_g1;
update read_models.projection_checkpoints set position = null, halted_position = null, halted_event_id = null, halted_error = null where projection = 'backups';
-- ShowRestoredVms1795257000006
alter table read_models.restore_jobs_g1 add column kind text not null default 'disks';
alter table read_models.restore_jobs_g1 add column vm jsonb;
create or replace view read_models.restore_jobs as select * from read_models.restore_jobs_g1;
-- ShowBootChecks1795257000007
alter table read_models.verifications_g1 add column boot jsonb;
create or replace view read_models.verifications as select * from read_models.verifications_g1;
-- ShowEnrolmentOfNodes1795257000008
alter table read_models.nodes_g1 add column enrolment jsonb;
create or replace view read_models.nodes as select * from read_models.nodes_g1;
-- ShowQuiescingOfBackups1795257000009
alter table read_models.backups_g1 add column quiesce jsonb;
alter table read_models.backups_g1 add column left_out_disks jsonb not null default '[]';
create or replace view read_models.backups as select * from read_models.backups_g1;
delete from read_models.backups_g1;
update read_models.projection_checkpoints set position = null, halted_position = null, halted_event_id = null, halted_error = null where projection = 'backups';
-- ShowTunnelsOfNodes1795257000010
alter table read_models.nodes_g1 add column tunnel jsonb;
create or replace view read_models.nodes as select * from read_models.nodes_g1;
-- IndexReadModelsForLongHistories1795257000024
create index on read_models.backups_g1 (chain_id) where chain_id is not null;
create index on read_models.backups_g1 (parent_backup_id) where parent_backup_id is not null;
create index on read_models.backups_g1 (backup_type, created_position);
create index on read_models.backups_g1 (vm_name, completed_at) where status = 'completed';
create index on read_models.backups_g1 (vm_id, repository_id, created_position) where status = 'completed';
create index on read_models.backups_g1 (vm_id, created_position) where status in ('pending', 'running') or (status = 'completed' and change_tracking is null) or (status in ('failed', 'cancelled') and (not undone or (nbd_targets_string is not null and change_tracking is null))) or (status = 'deleted' and not files_removed);
create index on read_models.audit_events_g1 (time, log_position);
create index on read_models.audit_events_g1 (type, actor, log_position);
create index on read_models.audit_events_g1 (category, actor, log_position);
drop index read_models."audit_events_g1_time_idx";
create table read_models.projection_tallies ( projection text not null, generation integer not null, value text not null, rows bigint not null, primary key (projection, generation, value) );
insert into read_models.projection_tallies select 'backups', 1, status, count(*) from read_models.backups_g1 group by status;
-- ShowProblemsOfVms1795257000025
alter table read_models.vms_g1 add column problem jsonb;
create or replace view read_models.vms as select * from read_models.vms_g1;
-- KeepGinIndexesCurrent1795257000027
alter index read_models.backups_g1_export_ids_idx set (fastupdate = off);
-- IndexDamagedBackups1795257000029
create index on read_models.backups_g1 (backup_id) where damage is not null;
