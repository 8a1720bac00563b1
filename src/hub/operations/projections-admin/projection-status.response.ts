import type { ProjectionStatus } from '../../store/postgres/projections.js';

export class ProjectionHaltResponse {
  /** Position of the event that cannot be folded @example "0000000000000000042" */ readonly position!: string;
  /** @example "0b7e2a35-90c1-5d53-9c4c-2f5d3c1f0e5b" */ readonly event_id!: string;
  /** @example "BackupRenamed" */ readonly event_type!: string;
  /** @example "backup-0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly stream!: string;
  /** @example "projection backups cannot fold BackupRenamed of backup-0199a3c4: unknown variant" */ readonly error!: string;
}

export class SkippedEventResponse {
  /** Position of the skipped event @example "0000000000000000042" */ readonly position!: string;
  /** @example "0b7e2a35-90c1-5d53-9c4c-2f5d3c1f0e5b" */ readonly event_id!: string;
  /** @example "BackupRenamed" */ readonly event_type!: string;
  /** @example "backup-0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly stream!: string;
  /** Why it could not be folded @example "projection backups cannot fold BackupRenamed of backup-0199a3c4: unknown variant" */
  readonly error!: string;
  /** As entered by the operator @example "Written by a newer version; the backup was deleted since." */
  readonly reason!: string;
  /** @format date-time @example "2026-11-22T10:15:00.000Z" */ readonly skipped_at!: string;
  /** @example "api:token" */ readonly skipped_by!: string;
}

export class ProjectionRebuildResponse {
  /** @example 2 */ readonly generation!: number;
  /** Position reached so far; opaque @example "0000000000000000017" */
  readonly position!: string | null;
}

export class ProjectionStatusResponse {
  /** @example "backups" */ readonly name!: string;
  readonly state!: 'stopped' | 'catching_up' | 'live' | 'retrying' | 'halted';
  /** Number of the generation; grows with each rebuild @example 1 */ readonly generation!: number;
  /** Position of its rows; opaque @example "0000000000000000042" */ readonly position!: string | null;
  /** Position of the newest event of the store; opaque @example "0000000000000000042" */
  readonly head_position!: string | null;
  /** Seconds since its rows were last at the head; 0 while they are @example 0 */ readonly lag_seconds!: number;
  /** The event at which the projection has halted */ readonly halted!: ProjectionHaltResponse | null;
  /** Events that operators let it skip @example [] */ readonly skipped!: readonly SkippedEventResponse[];
  /** A rebuild in progress */ readonly rebuild!: ProjectionRebuildResponse | null;
  /** Why the last rebuild was abandoned @example null */ readonly last_rebuild_error!: string | null;
}

export class ProjectionsResponse {
  readonly projections!: ProjectionStatusResponse[];
}

export class RebuildAcceptedResponse {
  /** @example "backups" */ readonly name!: string;
  /** The generation being built @example 2 */ readonly generation!: number;
  readonly state!: 'rebuilding';
}

export class SkipAcceptedResponse {
  /** @example "backups" */ readonly name!: string;
  /** Position of the skipped event @example "0000000000000000042" */ readonly position!: string;
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
