import type { DomainEvent } from '../../../../kernel/event.js';

export type AccessOperation = 'list_files' | 'file_info' | 'download' | 'download_directory' | 'download_disk' | 'read_console' | 'read_screenshot';

/** Recorded before the first byte of the answer is sent. Who: the actor of the event's metadata. */
export type RestorePointAccessed = DomainEvent<
  'RestorePointAccessed',
  {
    readonly access_id: string;
    readonly operation: AccessOperation;
    readonly backup_id: string;
    readonly vm_name: string;
    /** null: the content of a disk or of a boot check, without a mount. */
    readonly mount_id: string | null;
    /** null: not of one disk. */
    readonly disk_index: number | null;
    /** As the client wrote it, in the mounted file system; null: not of a path. */
    readonly path: string | null;
    /** Where the links in `path` led, written like paths in answers; null: nothing was followed. */
    readonly resolved_path: string | null;
    /** What was asked for besides, as texts: `recursive`, `format`, `range`. */
    readonly options: { readonly [name: string]: string };
    /** Of the connection; a reverse proxy's where there is one. null: the client had left. */
    readonly source_address: string | null;
    /** ISO 8601, UTC. */
    readonly accessed_at: string;
  }
>;

/** Follows a RestorePointAccessed of a download. A download without one was cut off by the end of the hub. */
export type RestorePointAccessEnded = DomainEvent<
  'RestorePointAccessEnded',
  {
    readonly access_id: string;
    /** Bytes of the content that were handed to the connection. */
    readonly bytes_sent: number;
    /** `cut`: by the client, by a limit, or because the content could not be read to its end. */
    readonly outcome: 'completed' | 'cut';
    readonly detail: string | null;
    readonly ended_at: string;
  }
>;

/** Stream `access-<backup_id>`: what was read of one restore point. Nothing is decided on it. */
export type AccessEvent = RestorePointAccessed | RestorePointAccessEnded;

export function accessStream(backupId: string): string {
  return `access-${backupId}`;
}
