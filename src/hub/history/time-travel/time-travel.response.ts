import type { AuditEventReadModel } from '../../../../projections/audit-events/audit-events.read-model.js';

export class HistoryEventResponse {
  /** @example "0000000000000000042" */ readonly position!: string;
  /** @example "backup-0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly stream!: string;
  /** @example "BackupRequested" */ readonly type!: string;
  /** When the event was decided @example "2026-11-21T10:30:00.000Z" */ readonly time!: string;
  /** `api:<token>`, `node:<node id>` or `system:<part>` @example "api:token" */ readonly actor!: string;
}

export function toHistoryEvent({ log_position, stream, type, time, actor }: AuditEventReadModel): HistoryEventResponse {
  return { position: log_position, stream, type, time: time.toISOString(), actor };
}
