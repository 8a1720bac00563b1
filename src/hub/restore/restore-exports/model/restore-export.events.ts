import type { DomainEvent } from '../../../../kernel/event.js';

export type RestoreExportMode = 'read_only' | 'read_write';

/** From this event on, the server, port and overlay may exist. */
export type RestoreExportRequested = DomainEvent<
  'RestoreExportRequested',
  {
    readonly export_id: string;
    readonly backup_id: string;
    /** The repository that is read. Absent: the one that the backup was made into. */
    readonly repository_id?: string;
    readonly vm_id: string;
    readonly vm_name: string;
    readonly disk_index: number;
    readonly mode: RestoreExportMode;
    readonly export_name: string;
    /** Absolute path of the restore point's QCOW2 file. */
    readonly file: string;
    /** Publish the disk even if the restore point is damaged, or might be. Absent: damage is not accepted. */
    readonly allow_damaged?: boolean;
    readonly requested_at: string;
    readonly expires_at: string;
    /** The holder, e.g. `restore job <id>`: the export then has no deadline and ends only with its holder. Absent: requested by a user. */
    readonly held_by?: string;
  }
>;
/** Clients can connect. */
export type RestoreExportStarted = DomainEvent<'RestoreExportStarted', { readonly nbd_port: number; readonly uri: string; readonly started_at: string }>;
/** Clients were connected when the deadline expired. */
export type RestoreExportExtended = DomainEvent<'RestoreExportExtended', { readonly expires_at: string }>;
export type RestoreExportFailed = DomainEvent<'RestoreExportFailed', { readonly code: string; readonly detail: string; readonly failed_at: string }>;
/** The export has ended; server, port and overlay are about to be removed. */
export type RestoreExportEnded = DomainEvent<'RestoreExportEnded', { readonly reason: 'deleted' | 'expired' | 'server_exited'; readonly ended_at: string }>;
/** Server, port and overlay are removed. */
export type RestoreExportCleanedUp = DomainEvent<'RestoreExportCleanedUp', { readonly cleaned_up_at: string }>;

/** Stream `restoreExport-<export_id>`. */
export type RestoreExportEvent =
  RestoreExportRequested | RestoreExportStarted | RestoreExportExtended | RestoreExportFailed | RestoreExportEnded | RestoreExportCleanedUp;

export function restoreExportStream(exportId: string): string {
  return `restoreExport-${exportId}`;
}
