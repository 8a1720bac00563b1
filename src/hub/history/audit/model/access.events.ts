import type { DomainEvent } from '../../../../kernel/event.js';

export type AccessOperation = 'list_files' | 'file_info' | 'download' | 'download_directory' | 'download_disk' | 'read_console' | 'read_screenshot';

/** Recorded before the first byte of the answer is sent. The reader is the actor in the event's metadata. */
export type RestorePointAccessed = DomainEvent<
  'RestorePointAccessed',
  {
    readonly access_id: string;
    readonly operation: AccessOperation;
    readonly backup_id: string;
    readonly vm_name: string;
    /** null: content of a disk or of a boot check, without a mount. */
    readonly mount_id: string | null;
    /** null: not specific to one disk. */
    readonly disk_index: number | null;
    /** Path in the mounted file system, as the client sent it; null: no path. */
    readonly path: string | null;
    /** Target of the symbolic links in `path`, written like paths in answers; null: no link was followed. */
    readonly resolved_path: string | null;
    /** Further options of the request, as text: `recursive`, `format`, `range`. */
    readonly options: { readonly [name: string]: string };
    /** Address of the connection, or of the reverse proxy if there is one. null: the client had disconnected. */
    readonly source_address: string | null;
    /** ISO 8601, UTC. */
    readonly accessed_at: string;
  }
>;

/** Follows the RestorePointAccessed of a download. A download without this event was cut off when the hub stopped. */
export type RestorePointAccessEnded = DomainEvent<
  'RestorePointAccessEnded',
  {
    readonly access_id: string;
    /** Bytes of content that were passed to the connection. */
    readonly bytes_sent: number;
    /** `cut`: by the client, by a limit, or because the rest of the content could not be read. */
    readonly outcome: 'completed' | 'cut';
    readonly detail: string | null;
    readonly ended_at: string;
  }
>;

/** Stream `access-<backup_id>`: accesses to one restore point. No command decides on it. */
export type AccessEvent = RestorePointAccessed | RestorePointAccessEnded;

export function accessStream(backupId: string): string {
  return `access-${backupId}`;
}
