import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { AuditEventRow } from './audit-events.projection.js';

/** A row of the view `read_models.audit_events`. `bigint` columns arrive as decimal strings. Only its projection writes it. */
@Entity({ schema: 'read_models', name: 'audit_events', synchronize: false })
export class AuditEventReadModel {
  @PrimaryColumn({ type: 'text' })
  readonly log_position!: AuditEventRow['log_position'];

  @Column({ type: 'text' })
  readonly event_id!: AuditEventRow['event_id'];

  @Column({ type: 'text' })
  readonly stream!: AuditEventRow['stream'];

  @Column({ type: 'text' })
  readonly category!: AuditEventRow['category'];

  @Column({ type: 'bigint' })
  readonly revision!: string;

  @Column({ type: 'text' })
  readonly type!: AuditEventRow['type'];

  @Column({ type: 'text' })
  readonly actor!: AuditEventRow['actor'];

  @Column({ type: 'text' })
  readonly correlation_id!: AuditEventRow['correlation_id'];

  @Column({ type: 'text' })
  readonly causation_id!: AuditEventRow['causation_id'];

  @Column({ type: 'text' })
  readonly hub_id!: AuditEventRow['hub_id'];

  @Column({ type: 'integer' })
  readonly schema_version!: AuditEventRow['schema_version'];

  @Column({ type: 'timestamptz' })
  readonly time!: Date;

  @Column({ type: 'timestamptz' })
  readonly recorded_at!: Date;

  @Column({ type: 'jsonb' })
  readonly data!: AuditEventRow['data'];

  /** Position of the last event that wrote this row. */
  @Column({ type: 'text' })
  readonly position!: string;
}
