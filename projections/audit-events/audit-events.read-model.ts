import type { JsonObject } from '../../src/kernel/json.js';
import { bigint, instant, integer, json, position, text, type EntityOf, readModel, type RowOf } from '../../src/hub/store/postgres/read-model-definition.js';

export const AuditEventReadModel = readModel({
  name: 'audit_events',
  key: 'log_position',
  columns: {
    log_position: position(),
    event_id: text(),
    stream: text(),
    category: text(),
    revision: bigint(),
    type: text(),
    actor: text(),
    correlation_id: text(),
    causation_id: text(),
    hub_id: text(),
    schema_version: integer(),
    time: instant(),
    recorded_at: instant(),
    data: json<JsonObject>(),
  },
  indexes: [
    '(stream, revision)',
    '(event_id)',
    '(category, log_position)',
    '(type, log_position)',
    '(actor, log_position)',
    '(correlation_id, log_position)',
    '(time, log_position)',
    '(recorded_at, log_position)',
    '(type, actor, log_position)',
    '(category, actor, log_position)',
  ],
});
export type AuditEventReadModel = EntityOf<typeof AuditEventReadModel>;
export type AuditEventRow = RowOf<typeof AuditEventReadModel>;
