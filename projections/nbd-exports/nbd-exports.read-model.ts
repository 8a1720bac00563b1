import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { NbdExportRow } from './nbd-exports.projection.js';

/** A row of the view `read_models.nbd_exports`. Only its projection writes it. */
@Entity({ schema: 'read_models', name: 'nbd_exports', synchronize: false })
export class NbdExportReadModel {
  @PrimaryColumn({ type: 'text' })
  readonly export_id!: NbdExportRow['export_id'];

  @Column({ type: 'text' })
  readonly job_id!: NbdExportRow['job_id'];

  @Column({ type: 'text' })
  readonly export_name!: NbdExportRow['export_name'];

  @Column({ type: 'integer' })
  readonly port!: NbdExportRow['port'];

  @Column({ type: 'text' })
  readonly file!: NbdExportRow['file'];

  @Column({ type: 'boolean' })
  readonly read_only!: NbdExportRow['read_only'];

  @Column({ type: 'integer' })
  readonly shared_limit!: NbdExportRow['shared_limit'];

  @Column({ type: 'text' })
  readonly state!: NbdExportRow['state'];

  @Column({ type: 'integer', nullable: true })
  readonly pid!: NbdExportRow['pid'];

  @Column({ type: 'text', nullable: true })
  readonly process_start_ticks!: NbdExportRow['process_start_ticks'];

  @Column({ type: 'text', nullable: true })
  readonly boot_id!: NbdExportRow['boot_id'];

  @Column({ type: 'text', nullable: true })
  readonly error_code!: NbdExportRow['error_code'];

  @Column({ type: 'integer', nullable: true })
  readonly exit_code!: NbdExportRow['exit_code'];

  @Column({ type: 'text', nullable: true })
  readonly stderr!: NbdExportRow['stderr'];

  @Column({ type: 'timestamptz' })
  readonly requested_at!: Date;

  @Column({ type: 'timestamptz', nullable: true })
  readonly started_at!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  readonly ended_at!: Date | null;

  /** Position of the last event that wrote this row. */
  @Column({ type: 'text' })
  readonly position!: string;
}
