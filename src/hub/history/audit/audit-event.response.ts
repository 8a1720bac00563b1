import { ApiProperty } from '@nestjs/swagger';
import type { AuditEventReadModel } from '../../../../projections/audit-events/audit-events.read-model.js';
import type { JsonObject } from '../../../kernel/json.js';

/** One event, as it was stored. */
export class AuditEventResponse {
  @ApiProperty({ description: 'Where it stands among all events; opaque, and grows', example: '0000000000000000042' }) readonly position!: string;
  @ApiProperty({ example: '0b7e2a35-90c1-5d53-9c4c-2f5d3c1f0e5b' }) readonly event_id!: string;
  @ApiProperty({ example: 'backup-0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11' }) readonly stream!: string;
  @ApiProperty({ description: 'The stream up to its first dash', example: 'backup' }) readonly category!: string;
  @ApiProperty({ description: 'From 0 within the stream', example: 0 }) readonly revision!: number;
  @ApiProperty({ example: 'BackupRequested' }) readonly type!: string;
  @ApiProperty({ description: '`api:<token>`, `node:<node id>` or `system:<part>`', example: 'api:token' }) readonly actor!: string;
  @ApiProperty({ description: 'Shared by everything that follows from one request', example: '0199a3c4-7c00-7000-8000-000000000001' })
  readonly correlation_id!: string;
  @ApiProperty({ description: 'The command that caused it', example: '0199a3c4-7c00-7000-8000-000000000002' }) readonly causation_id!: string;
  @ApiProperty({ description: 'When it was decided', example: '2026-11-21T10:30:00.000Z' }) readonly time!: string;
  @ApiProperty({ description: 'When it was stored, by the clock of the store', example: '2026-11-21T10:30:00.012Z' }) readonly recorded_at!: string;
  @ApiProperty({ type: 'object', additionalProperties: true, example: { backup_id: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11', backup_type: 'auto' } })
  readonly data!: JsonObject;
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
  };
}
