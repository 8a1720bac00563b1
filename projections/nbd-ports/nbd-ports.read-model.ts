import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { NbdPortRow } from './nbd-ports.projection.js';

/** A row of the view `read_models.nbd_ports`. Only its projection writes it. */
@Entity({ schema: 'read_models', name: 'nbd_ports', synchronize: false })
export class NbdPortReadModel {
  @PrimaryColumn({ type: 'integer' })
  readonly port!: NbdPortRow['port'];

  @Column({ type: 'text' })
  readonly state!: NbdPortRow['state'];

  @Column({ type: 'text', nullable: true })
  readonly job_id!: NbdPortRow['job_id'];

  @Column({ type: 'text', nullable: true })
  readonly export_name!: NbdPortRow['export_name'];

  @Column({ type: 'timestamptz' })
  readonly since!: Date;

  /** Position of the last event that wrote this row. */
  @Column({ type: 'text' })
  readonly position!: string;
}
