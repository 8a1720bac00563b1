import { ApiProperty } from '@nestjs/swagger';
import type { ProjectionStatus } from '../../store/postgres/projections.js';

const STATES = ['stopped', 'catching_up', 'live', 'retrying', 'halted'];

export class ProjectionHaltResponse {
  @ApiProperty({ description: 'Position of the event that cannot be folded', example: '0000000000000000042' }) readonly position!: string;
  @ApiProperty({ example: '0b7e2a35-90c1-5d53-9c4c-2f5d3c1f0e5b' }) readonly event_id!: string;
  @ApiProperty({ example: 'BackupRenamed' }) readonly event_type!: string;
  @ApiProperty({ example: 'backup-0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11' }) readonly stream!: string;
  @ApiProperty({ example: 'projection backups cannot fold BackupRenamed of backup-0199a3c4: unknown variant' }) readonly error!: string;
}

export class SkippedEventResponse {
  @ApiProperty({ description: 'Position of the skipped event', example: '0000000000000000042' }) readonly position!: string;
  @ApiProperty({ example: '0b7e2a35-90c1-5d53-9c4c-2f5d3c1f0e5b' }) readonly event_id!: string;
  @ApiProperty({ example: 'BackupRenamed' }) readonly event_type!: string;
  @ApiProperty({ example: 'backup-0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11' }) readonly stream!: string;
  @ApiProperty({ description: 'Why it could not be folded', example: 'projection backups cannot fold BackupRenamed of backup-0199a3c4: unknown variant' })
  readonly error!: string;
  @ApiProperty({ description: 'As entered by the operator', example: 'Written by a newer version; the backup was deleted since.' }) readonly reason!: string;
  @ApiProperty({ format: 'date-time', example: '2026-11-22T10:15:00.000Z' }) readonly skipped_at!: string;
  @ApiProperty({ example: 'api:token' }) readonly skipped_by!: string;
}

export class ProjectionRebuildResponse {
  @ApiProperty({ example: 2 }) readonly generation!: number;
  @ApiProperty({ type: String, nullable: true, description: 'Position reached so far; opaque', example: '0000000000000000017' }) readonly position!:
    string | null;
}

export class ProjectionStatusResponse {
  @ApiProperty({ example: 'backups' }) readonly name!: string;
  @ApiProperty({ enum: STATES, example: 'live' }) readonly state!: string;
  @ApiProperty({ description: 'Number of the generation; grows with each rebuild', example: 1 }) readonly generation!: number;
  @ApiProperty({ type: String, nullable: true, description: 'Position of its rows; opaque', example: '0000000000000000042' }) readonly position!: string | null;
  @ApiProperty({ type: String, nullable: true, description: 'Position of the newest event of the store; opaque', example: '0000000000000000042' })
  readonly head_position!: string | null;
  @ApiProperty({ description: 'Seconds since its rows were last at the head; 0 while they are', example: 0 }) readonly lag_seconds!: number;
  @ApiProperty({ type: ProjectionHaltResponse, nullable: true, description: 'The event at which the projection has halted', example: null })
  readonly halted!: ProjectionHaltResponse | null;
  @ApiProperty({ type: [SkippedEventResponse], description: 'Events that operators let it skip', example: [] })
  readonly skipped!: readonly SkippedEventResponse[];
  @ApiProperty({ type: ProjectionRebuildResponse, nullable: true, description: 'A rebuild in progress', example: null })
  readonly rebuild!: ProjectionRebuildResponse | null;
  @ApiProperty({ type: String, nullable: true, description: 'Why the last rebuild was abandoned', example: null }) readonly last_rebuild_error!: string | null;
}

export class ProjectionsResponse {
  @ApiProperty({ type: [ProjectionStatusResponse] }) readonly projections!: ProjectionStatusResponse[];
}

export class RebuildAcceptedResponse {
  @ApiProperty({ example: 'backups' }) readonly name!: string;
  @ApiProperty({ description: 'The generation being built', example: 2 }) readonly generation!: number;
  @ApiProperty({ enum: ['rebuilding'], example: 'rebuilding' }) readonly state!: string;
}

export class SkipAcceptedResponse {
  @ApiProperty({ example: 'backups' }) readonly name!: string;
  @ApiProperty({ description: 'Position of the skipped event', example: '0000000000000000042' }) readonly position!: string;
}

export function toProjectionStatusResponse(status: ProjectionStatus): ProjectionStatusResponse {
  return {
    name: status.name,
    state: status.state,
    generation: status.generation,
    position: status.position,
    head_position: status.head,
    lag_seconds: Math.round(status.lagSeconds * 1000) / 1000,
    halted: status.halted,
    skipped: status.skipped.map(({ position, event_id, event_type, stream, error, reason, skipped_at, skipped_by }) => ({
      position,
      event_id,
      event_type,
      stream,
      error,
      reason,
      skipped_at,
      skipped_by,
    })),
    rebuild: status.rebuild,
    last_rebuild_error: status.lastRebuildError,
  };
}
