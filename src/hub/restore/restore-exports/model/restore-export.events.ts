import type { DomainEvent } from '../../../../kernel/event.js';

export type RestoreExportMode = 'read_only' | 'read_write';

/** From here on its server, port and overlay may exist. */
export type RestoreExportRequested = DomainEvent<
  'RestoreExportRequested',
  {
    readonly export_id: string;
    readonly backup_id: string;
    readonly vm_id: string;
    readonly vm_name: string;
    readonly disk_index: number;
    readonly mode: RestoreExportMode;
    readonly export_name: string;
    /** Absolute path of the restore point's QCOW2 file. */
    readonly file: string;
    /** The restore point was known to be damaged, or might be, and is published all the same. Absent: it was not. */
    readonly allow_damaged?: boolean;
    readonly requested_at: string;
    readonly expires_at: string;
    /** What it is for, e.g. `restore job <id>`: it has no deadline then, and ends only with that. Left out: a user's own. */
    readonly held_by?: string;
  }
>;
/** Clients can connect. */
export type RestoreExportStarted = DomainEvent<'RestoreExportStarted', { readonly nbd_port: number; readonly uri: string; readonly started_at: string }>;
/** Clients were connected when the deadline came. */
export type RestoreExportExtended = DomainEvent<'RestoreExportExtended', { readonly expires_at: string }>;
export type RestoreExportFailed = DomainEvent<'RestoreExportFailed', { readonly code: string; readonly detail: string; readonly failed_at: string }>;
/** It is over; server, port and overlay are about to go. */
export type RestoreExportEnded = DomainEvent<'RestoreExportEnded', { readonly reason: 'deleted' | 'expired' | 'server_exited'; readonly ended_at: string }>;
/** Server, port and overlay are gone. */
export type RestoreExportCleanedUp = DomainEvent<'RestoreExportCleanedUp', { readonly cleaned_up_at: string }>;

/** Stream `restoreExport-<export_id>`. */
export type RestoreExportEvent =
  RestoreExportRequested | RestoreExportStarted | RestoreExportExtended | RestoreExportFailed | RestoreExportEnded | RestoreExportCleanedUp;

export function restoreExportStream(exportId: string): string {
  return `restoreExport-${exportId}`;
}
