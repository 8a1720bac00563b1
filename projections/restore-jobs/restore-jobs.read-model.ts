import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { RestoreJobRow } from './restore-jobs.projection.js';

/** A row of the view `read_models.restore_jobs`. Only its projection writes it. */
@Entity({ schema: 'read_models', name: 'restore_jobs', synchronize: false })
export class RestoreJobReadModel {
  @PrimaryColumn({ type: 'text' })
  readonly job_id!: RestoreJobRow['job_id'];

  @Column({ type: 'text' })
  readonly backup_id!: RestoreJobRow['backup_id'];

  @Column({ type: 'text' })
  readonly vm_id!: RestoreJobRow['vm_id'];

  @Column({ type: 'text' })
  readonly vm_name!: RestoreJobRow['vm_name'];

  @Column({ type: 'text' })
  readonly repository_id!: RestoreJobRow['repository_id'];

  @Column({ type: 'text' })
  readonly target_path!: RestoreJobRow['target_path'];

  @Column({ type: 'text' })
  readonly format!: RestoreJobRow['format'];

  @Column({ type: 'text' })
  readonly chain!: RestoreJobRow['chain'];

  @Column({ type: 'boolean' })
  readonly overwrite!: RestoreJobRow['overwrite'];

  @Column({ type: 'text' })
  readonly status!: RestoreJobRow['status'];

  @Column({ type: 'jsonb' })
  readonly disks!: RestoreJobRow['disks'];

  @Column({ type: 'boolean' })
  readonly sources_verified!: RestoreJobRow['sources_verified'];

  @Column({ type: 'jsonb' })
  readonly files!: RestoreJobRow['files'];

  @Column({ type: 'jsonb', nullable: true })
  readonly error!: RestoreJobRow['error'];

  @Column({ type: 'boolean' })
  readonly cleaned_up!: RestoreJobRow['cleaned_up'];

  @Column({ type: 'timestamptz' })
  readonly requested_at!: Date;

  @Column({ type: 'timestamptz', nullable: true })
  readonly ended_at!: Date | null;

  @Column({ type: 'text' })
  readonly created_position!: RestoreJobRow['created_position'];

  @Column({ type: 'jsonb' })
  readonly damaged_sources!: RestoreJobRow['damaged_sources'];
  @Column({ type: 'text' })
  readonly kind!: RestoreJobRow['kind'];

  @Column({ type: 'jsonb', nullable: true })
  readonly vm!: RestoreJobRow['vm'];

  /** Position of the last event that wrote this row. */
  @Column({ type: 'text' })
  readonly position!: string;
}
