import { PSK_USER } from '../../../../lib/nbd/nbd-uri.js';
import type { RestoreExportReadModel } from '../../../../../projections/restore-exports/restore-exports.read-model.js';

export class RestoreExportErrorResponse {
  /** @example "nbd_ports_exhausted" */ readonly code!: string;
  /** @example "Job 0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a41 needs 1 NBD ports, but only 0 are free." */ readonly detail!: string;
}

export class RestoreExportResponse {
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a41" */ readonly export_id!: string;
  /** @example "0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11" */ readonly backup_id!: string;
  /** @example "pgtest1" */ readonly vm_name!: string;
  /** @example 0 */ readonly disk_index!: number;
  readonly mode!: 'read_only' | 'read_write';
  readonly status!: 'starting' | 'running' | 'failed' | 'ended';
  /**
   * URI for libnbd and its tools. Append `?tls-psk-file=<path>`, where the file holds the key from `GET /restore/exports/{export_id}/key`
   * @example "nbds://sendense@127.0.0.1:10100/restore-pgtest1-disk0-0e5b7a41"
   */
  readonly uri!: string | null;
  readonly error!: RestoreExportErrorResponse | null;
  readonly end_reason!: 'deleted' | 'expired' | 'server_exited' | null;
  /** @example "2026-11-21T10:30:00.000Z" */ readonly created_at!: string;
  /** The export ends at this time. If a client is connected then, the deadline is extended by the same period @example "2026-11-21T11:30:00.000Z" */
  readonly expires_at!: string;
  /** Position of the last event reflected in this answer; opaque @example "0000000000000000042" */
  readonly position!: string;
}

export function toRestoreExportResponse(row: RestoreExportReadModel): RestoreExportResponse {
  return {
    export_id: row.export_id,
    backup_id: row.backup_id,
    vm_name: row.vm_name,
    disk_index: row.disk_index,
    mode: row.mode,
    status: row.status,
    uri: row.uri === null ? null : uriOfUser(row.uri),
    error: row.error,
    end_reason: row.end_reason,
    created_at: row.requested_at.toISOString(),
    expires_at: row.expires_at.toISOString(),
    position: row.position,
  };
}

/** Without a user name in the URI, tools send the name of their own user. */
function uriOfUser(uri: string): string {
  return uri.replace(/^nbds:\/\//, `nbds://${PSK_USER}@`);
}
