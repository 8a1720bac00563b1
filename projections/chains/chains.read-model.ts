import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { ChainRow } from './chains.projection.js';

/** A row of the view `read_models.chains`. Only its projection writes it. */
@Entity({ schema: 'read_models', name: 'chains', synchronize: false })
export class ChainReadModel {
  @PrimaryColumn({ type: 'text' })
  readonly chain_id!: ChainRow['chain_id'];

  @Column({ type: 'text' })
  readonly vm_id!: ChainRow['vm_id'];

  @Column({ type: 'text' })
  readonly repository_id!: ChainRow['repository_id'];

  @Column({ type: 'text' })
  readonly full_backup_id!: ChainRow['full_backup_id'];

  @Column({ type: 'text', nullable: true })
  readonly head_backup_id!: ChainRow['head_backup_id'];

  @Column({ type: 'jsonb' })
  readonly points!: ChainRow['points'];

  @Column({ type: 'boolean' })
  readonly damaged!: ChainRow['damaged'];

  @Column({ type: 'text' })
  readonly started_position!: ChainRow['started_position'];

  /** Position of the last event that wrote this row. */
  @Column({ type: 'text' })
  readonly position!: string;
}
