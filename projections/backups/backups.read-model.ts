import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { RecordedEvent } from '../../src/hub/store/event-store/event-store.port.js';
import { foldFromZero } from '../../src/hub/store/postgres/projection-definition.js';
import { type BackupDamageRow, type BackupDiskRow, type BackupRow, backupsProjection } from './backups.projection.js';

export type { BackupDamageRow, BackupDiskRow, BackupRow };

/** A row folded in memory: numbers are numbers, and times are ISO 8601 strings. */
export type FoldedBackup = BackupRow & { readonly position: string };

/** A row of the view `read_models.backups`. `bigint` columns arrive as decimal strings. Only its projection writes it. */
@Entity({ schema: 'read_models', name: 'backups', synchronize: false })
export class BackupReadModel {
  @PrimaryColumn({ type: 'text' })
  readonly backup_id!: BackupRow['backup_id'];

  @Column({ type: 'text' })
  readonly vm_id!: BackupRow['vm_id'];

  @Column({ type: 'text' })
  readonly vm_name!: BackupRow['vm_name'];

  @Column({ type: 'text' })
  readonly node_id!: BackupRow['node_id'];

  @Column({ type: 'text' })
  readonly repository_id!: BackupRow['repository_id'];

  @Column({ type: 'text', nullable: true })
  readonly policy_id!: BackupRow['policy_id'];

  @Column({ type: 'text' })
  readonly backup_type!: BackupRow['backup_type'];

  @Column({ type: 'text' })
  readonly status!: BackupRow['status'];

  @Column({ type: 'text' })
  readonly current_phase!: BackupRow['current_phase'];

  @Column({ type: 'text', nullable: true })
  readonly waiting_for!: BackupRow['waiting_for'];

  @Column({ type: 'text', nullable: true })
  readonly waiting_detail!: BackupRow['waiting_detail'];

  @Column({ type: 'text', nullable: true })
  readonly full_reason!: BackupRow['full_reason'];

  @Column({ type: 'text', nullable: true })
  readonly full_reason_detail!: BackupRow['full_reason_detail'];

  @Column({ type: 'text', nullable: true })
  readonly chain_id!: BackupRow['chain_id'];

  @Column({ type: 'text', nullable: true })
  readonly parent_backup_id!: BackupRow['parent_backup_id'];

  @Column({ type: 'text', nullable: true })
  readonly folder!: BackupRow['folder'];

  @Column({ type: 'jsonb', nullable: true })
  readonly files!: BackupRow['files'];

  @Column({ type: 'text', nullable: true })
  readonly manifest_sha256!: BackupRow['manifest_sha256'];

  @Column({ type: 'timestamptz', nullable: true })
  readonly instant!: Date | null;

  @Column({ type: 'double precision' })
  readonly progress_percent!: BackupRow['progress_percent'];

  @Column({ type: 'bigint' })
  readonly bytes_transferred!: string;

  @Column({ type: 'bigint' })
  readonly total_bytes!: string;

  @Column({ type: 'bigint', nullable: true })
  readonly transfer_speed_bps!: string | null;

  @Column({ type: 'bigint', nullable: true })
  readonly eta_seconds!: string | null;

  @Column({ type: 'jsonb' })
  readonly disks!: BackupRow['disks'];

  @Column({ type: 'jsonb', nullable: true })
  readonly exports!: BackupRow['exports'];

  @Column({ type: 'text', array: true })
  readonly export_ids!: BackupRow['export_ids'];

  @Column({ type: 'text', nullable: true })
  readonly nbd_targets_string!: BackupRow['nbd_targets_string'];

  @Column({ type: 'jsonb', nullable: true })
  readonly error!: BackupRow['error'];

  @Column({ type: 'text', nullable: true })
  readonly change_tracking!: BackupRow['change_tracking'];

  @Column({ type: 'boolean' })
  readonly undone!: BackupRow['undone'];

  @Column({ type: 'boolean' })
  readonly files_removed!: BackupRow['files_removed'];

  @Column({ type: 'timestamptz' })
  readonly created_at!: Date;

  @Column({ type: 'timestamptz', nullable: true })
  readonly started_at!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  readonly transfer_started_at!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  readonly silent_since!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  readonly completed_at!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  readonly deleted_at!: Date | null;

  @Column({ type: 'jsonb', nullable: true })
  readonly damage!: BackupRow['damage'];

  @Column({ type: 'jsonb', nullable: true })
  readonly quiesce!: BackupRow['quiesce'];

  @Column({ type: 'jsonb' })
  readonly left_out_disks!: BackupRow['left_out_disks'];

  @Column({ type: 'text' })
  readonly created_position!: BackupRow['created_position'];

  /** Position of the last event that wrote this row. */
  @Column({ type: 'text' })
  readonly position!: string;
}

/** Folds the events of one backup, its exports and its chain, ordered by position; null if they give no row. */
export function foldBackup(events: readonly RecordedEvent[]): FoldedBackup | null {
  const folded = foldFromZero(backupsProjection, events)[0];
  // foldFromZero does not know the row type of this projection.
  return folded === undefined ? null : { ...(folded.row as BackupRow), position: folded.position };
}
