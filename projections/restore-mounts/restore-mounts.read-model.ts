import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { RestoreMountRow, RestoreMountStatus } from './restore-mounts.projection.js';

/** States in which the machine may hold resources of the mount. Each such mount occupies a slot. */
export const ACTIVE_MOUNTS = ['mounting', 'mounted', 'unmounting'] as const satisfies readonly RestoreMountStatus[];

/** A row of the view `read_models.restore_mounts`. Only its projection writes it. */
@Entity({ schema: 'read_models', name: 'restore_mounts', synchronize: false })
export class RestoreMountReadModel {
  @PrimaryColumn({ type: 'text' })
  readonly mount_id!: RestoreMountRow['mount_id'];

  @Column({ type: 'text' })
  readonly backup_id!: RestoreMountRow['backup_id'];

  @Column({ type: 'text' })
  readonly vm_id!: RestoreMountRow['vm_id'];

  @Column({ type: 'text' })
  readonly vm_name!: RestoreMountRow['vm_name'];

  @Column({ type: 'text' })
  readonly repository_id!: RestoreMountRow['repository_id'];

  @Column({ type: 'integer' })
  readonly disk_index!: RestoreMountRow['disk_index'];

  @Column({ type: 'integer', nullable: true })
  readonly partition!: RestoreMountRow['partition'];

  @Column({ type: 'text' })
  readonly status!: RestoreMountRow['status'];

  @Column({ type: 'text', nullable: true })
  readonly driver!: RestoreMountRow['driver'];

  @Column({ type: 'text', nullable: true })
  readonly device!: RestoreMountRow['device'];

  @Column({ type: 'text', nullable: true })
  readonly mount_path!: RestoreMountRow['mount_path'];

  @Column({ type: 'text', nullable: true })
  readonly filesystem_type!: RestoreMountRow['filesystem_type'];

  @Column({ type: 'jsonb' })
  readonly partitions!: RestoreMountRow['partitions'];

  @Column({ type: 'jsonb' })
  readonly resources!: RestoreMountRow['resources'];

  @Column({ type: 'jsonb', nullable: true })
  readonly error!: RestoreMountRow['error'];

  @Column({ type: 'text', nullable: true })
  readonly unmount_reason!: RestoreMountRow['unmount_reason'];

  @Column({ type: 'integer' })
  readonly abandoned_calls!: RestoreMountRow['abandoned_calls'];

  @Column({ type: 'timestamptz' })
  readonly created_at!: Date;

  @Column({ type: 'timestamptz', nullable: true })
  readonly ready_at!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  readonly accessed_at!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  readonly expires_at!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  readonly released_at!: Date | null;

  @Column({ type: 'text' })
  readonly created_position!: RestoreMountRow['created_position'];

  /** Position of the last event that wrote this row. */
  @Column({ type: 'text' })
  readonly position!: string;
}
