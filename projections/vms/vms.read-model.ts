import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { VmRow } from './vms.projection.js';

/** A row of the view `read_models.vms`. `bigint` columns arrive as decimal strings. Only its projection writes it. */
@Entity({ schema: 'read_models', name: 'vms', synchronize: false })
export class VmReadModel {
  @PrimaryColumn({ type: 'text' })
  readonly vm_id!: VmRow['vm_id'];

  @Column({ type: 'text' })
  readonly name!: VmRow['name'];

  @Column({ type: 'text' })
  readonly node_id!: VmRow['node_id'];

  @Column({ type: 'text' })
  readonly source!: VmRow['source'];

  @Column({ type: 'text' })
  readonly source_ref!: VmRow['source_ref'];

  @Column({ type: 'jsonb' })
  readonly disks!: VmRow['disks'];

  @Column({ type: 'bigint' })
  readonly total_size_bytes!: string;

  @Column({ type: 'timestamptz' })
  readonly registered_at!: Date;

  @Column({ type: 'timestamptz' })
  readonly disks_observed_at!: Date;

  @Column({ type: 'jsonb', nullable: true })
  readonly problem!: VmRow['problem'];

  /** Position of the last event that wrote this row. */
  @Column({ type: 'text' })
  readonly position!: string;
}
