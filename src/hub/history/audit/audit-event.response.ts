import type { AuditEventReadModel } from '../../../../projections/audit-events/audit-events.read-model.js';
import type { JsonObject } from '../../../kernel/json.js';
import { categoryOf, type RecordedEvent } from '../../store/event-store/event-store.port.js';

/** A stored event. */
export class AuditEventResponse {
  /** Position among all events; opaque and increasing @example "0000000000000000042" */ readonly position!: string;
  /** @example "0b7e2a35-90c1-5d53-9c4c-2f5d3c1f0e5b" */ readonly event_id!: string;
  /** @example "backup-0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly stream!: string;
  /** The stream name up to its first dash @example "backup" */ readonly category!: string;
  /** Number within the stream, from 0 @example 0 */ readonly revision!: number;
  /** @example "BackupRequested" */ readonly type!: string;
  /** `api:<token>`, `node:<node id>` or `system:<part>` @example "api:token" */ readonly actor!: string;
  /** Shared by all events that result from one request @example "0199a3c4-7c00-7000-8000-000000000001" */
  readonly correlation_id!: string;
  /** The command that caused the event @example "0199a3c4-7c00-7000-8000-000000000002" */
  readonly causation_id!: string;
  /** When the event was decided @example "2026-11-21T10:30:00.000Z" */ readonly time!: string;
  /** When the event was stored, by the store's clock @example "2026-11-21T10:30:00.012Z" */
  readonly recorded_at!: string;
  /** @example {"backup_id":"0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11","backup_type":"auto"} */ readonly data!: JsonObject;
  /** The hub that recorded it @example "0199a3c0-0001-7000-8000-000000000001" */ readonly hub_id!: string;
  /** Version of the metadata @example 1 */ readonly schema_version!: number;
  /** Members of the metadata besides these; only in an export of the whole history, and only if there are any @example {} */
  readonly further_metadata?: JsonObject;
}

export function toAuditEventResponse(event: AuditEventReadModel): AuditEventResponse {
  return {
    position: event.position,
    event_id: event.event_id,
    stream: event.stream,
    category: event.category,
    revision: Number(event.revision),
    type: event.type,
    actor: event.actor,
    correlation_id: event.correlation_id,
    causation_id: event.causation_id,
    time: event.time.toISOString(),
    recorded_at: event.recorded_at.toISOString(),
    data: event.data,
    hub_id: event.hub_id,
    schema_version: event.schema_version,
  };
}

/** The same from the store itself. */
export function recordedEventResponse(event: RecordedEvent): AuditEventResponse {
  const { $correlationId, $causationId, actor, hub_id, schema_version, time, ...further }: RecordedEvent['metadata'] & JsonObject = { ...event.metadata };
  return {
    position: event.position,
    event_id: event.id,
    stream: event.stream,
    category: categoryOf(event.stream),
    revision: event.revision,
    type: event.type,
    actor,
    correlation_id: $correlationId,
    causation_id: $causationId,
    time,
    recorded_at: event.recordedAt,
    data: event.data,
    hub_id,
    schema_version,
    ...(Object.keys(further).length === 0 ? {} : { further_metadata: further }),
  };
}
