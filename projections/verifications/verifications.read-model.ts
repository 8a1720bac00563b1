import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { VerificationRow } from './verifications.projection.js';

/** A row of the view `read_models.verifications`. Only its projection writes it. */
@Entity({ schema: 'read_models', name: 'verifications', synchronize: false })
export class VerificationReadModel {
  @PrimaryColumn({ type: 'text' })
  readonly verification_id!: VerificationRow['verification_id'];

  @Column({ type: 'text' })
  readonly backup_id!: VerificationRow['backup_id'];

  @Column({ type: 'text' })
  readonly vm_id!: VerificationRow['vm_id'];

  @Column({ type: 'text' })
  readonly vm_name!: VerificationRow['vm_name'];

  @Column({ type: 'text' })
  readonly repository_id!: VerificationRow['repository_id'];

  @Column({ type: 'text' })
  readonly chain_id!: VerificationRow['chain_id'];

  @Column({ type: 'text' })
  readonly status!: VerificationRow['status'];

  @Column({ type: 'jsonb' })
  readonly findings!: VerificationRow['findings'];

  @Column({ type: 'integer', nullable: true })
  readonly files_checked!: VerificationRow['files_checked'];

  @Column({ type: 'bigint', nullable: true })
  readonly bytes_checked!: string | null;

  @Column({ type: 'jsonb', nullable: true })
  readonly error!: VerificationRow['error'];

  @Column({ type: 'timestamptz' })
  readonly requested_at!: Date;

  @Column({ type: 'timestamptz', nullable: true })
  readonly ended_at!: Date | null;

  @Column({ type: 'text' })
  readonly created_position!: VerificationRow['created_position'];

  @Column({ type: 'jsonb', nullable: true })
  readonly boot!: VerificationRow['boot'];

  /** Position of the last event that wrote this row. */
  @Column({ type: 'text' })
  readonly position!: string;
}
