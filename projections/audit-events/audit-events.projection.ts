import { categoryOf } from '../../src/hub/store/event-store/event-store.port.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import { AuditEventReadModel, type AuditEventRow } from './audit-events.read-model.js';

/** One row for each event in the store. The position is the key, because the same event id may occur twice. */
export const auditEventsProjection: Projection<AuditEventRow> = {
  ...AuditEventReadModel.definition,
  categories: null,
  copied: {
    log_position: `lpad(position::text, 19, '0')`,
    event_id: 'id::text',
    stream: 'stream',
    category: 'category',
    revision: 'revision',
    type: 'type',
    actor: `metadata->>'actor'`,
    correlation_id: `metadata->>'$correlationId'`,
    causation_id: `metadata->>'$causationId'`,
    hub_id: `metadata->>'hub_id'`,
    schema_version: `(metadata->>'schema_version')::integer`,
    time: `(metadata->>'time')::timestamptz`,
    // Truncated to milliseconds, as a fold sees it.
    recorded_at: `date_trunc('milliseconds', recorded_at)`,
    data: 'data',
  },
  keys: ({ position }) => [position],
  fold: (_row, event) => ({
    log_position: event.position,
    event_id: event.id,
    stream: event.stream,
    category: categoryOf(event.stream),
    revision: event.revision,
    type: event.type,
    actor: event.metadata.actor,
    correlation_id: event.metadata.$correlationId,
    causation_id: event.metadata.$causationId,
    hub_id: event.metadata.hub_id,
    schema_version: event.metadata.schema_version,
    time: event.metadata.time,
    recorded_at: event.recordedAt,
    data: event.data,
  }),
};
