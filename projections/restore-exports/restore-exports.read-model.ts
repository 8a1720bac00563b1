import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { RestoreExportRow } from './restore-exports.projection.js';

/** A row of the view `read_models.restore_exports`. Only its projection writes it. */
@Entity({ schema: 'read_models', name: 'restore_exports', synchronize: false })
export class RestoreExportReadModel {
  @PrimaryColumn({ type: 'text' })
  readonly export_id!: RestoreExportRow['export_id'];

  @Column({ type: 'text' })
  readonly backup_id!: RestoreExportRow['backup_id'];

  @Column({ type: 'text' })
  readonly vm_id!: RestoreExportRow['vm_id'];

  @Column({ type: 'text' })
  readonly vm_name!: RestoreExportRow['vm_name'];

  @Column({ type: 'integer' })
  readonly disk_index!: RestoreExportRow['disk_index'];

  @Column({ type: 'text' })
  readonly mode!: RestoreExportRow['mode'];

  @Column({ type: 'text' })
  readonly status!: RestoreExportRow['status'];

  @Column({ type: 'text', nullable: true })
  readonly uri!: RestoreExportRow['uri'];

  @Column({ type: 'integer', nullable: true })
  readonly nbd_port!: RestoreExportRow['nbd_port'];

  @Column({ type: 'text' })
  readonly export_name!: RestoreExportRow['export_name'];

  @Column({ type: 'jsonb', nullable: true })
  readonly error!: RestoreExportRow['error'];

  @Column({ type: 'text', nullable: true })
  readonly end_reason!: RestoreExportRow['end_reason'];

  @Column({ type: 'boolean' })
  readonly cleaned_up!: RestoreExportRow['cleaned_up'];

  @Column({ type: 'timestamptz' })
  readonly requested_at!: Date;

  @Column({ type: 'timestamptz' })
  readonly expires_at!: Date;

  @Column({ type: 'timestamptz', nullable: true })
  readonly ended_at!: Date | null;

  @Column({ type: 'text' })
  readonly created_position!: RestoreExportRow['created_position'];

  /** Position of the last event that wrote this row. */
  @Column({ type: 'text' })
  readonly position!: string;
}
