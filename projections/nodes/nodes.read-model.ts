import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { NodeRow } from './nodes.projection.js';

/** A row of the view `read_models.nodes`. Only its projection writes it. */
@Entity({ schema: 'read_models', name: 'nodes', synchronize: false })
export class NodeReadModel {
  @PrimaryColumn({ type: 'text' })
  readonly node_id!: NodeRow['node_id'];

  @Column({ type: 'text' })
  readonly name!: NodeRow['name'];

  @Column({ type: 'text' })
  readonly url!: NodeRow['url'];

  @Column({ type: 'text' })
  readonly state!: NodeRow['state'];

  @Column({ type: 'text', nullable: true })
  readonly version!: NodeRow['version'];

  @Column({ type: 'jsonb', nullable: true })
  readonly error!: NodeRow['error'];

  @Column({ type: 'timestamptz', nullable: true })
  readonly state_since!: Date | null;

  @Column({ type: 'timestamptz' })
  readonly registered_at!: Date;

  @Column({ type: 'jsonb', nullable: true })
  readonly enrolment!: NodeRow['enrolment'];

  @Column({ type: 'jsonb', nullable: true })
  readonly tunnel!: NodeRow['tunnel'];

  /** Position of the last event that wrote this row. */
  @Column({ type: 'text' })
  readonly position!: string;
}
