import type { DomainEvent } from '../../../../kernel/event.js';

/** Intent: a qemu-nbd is to serve `file` on `port`. From this event on, the process may exist. */
export type NbdExportRequested = DomainEvent<
  'NbdExportRequested',
  {
    readonly export_id: string;
    /** The job (backup) it belongs to. */
    readonly job_id: string;
    readonly export_name: string;
    readonly port: number;
    /** Absolute path. */
    readonly file: string;
    readonly read_only: boolean;
    /** Maximum number of client connections (qemu-nbd --shared); 0: unlimited. */
    readonly shared_limit: number;
    /**
     * `unix`: a socket in a private directory, nothing listens on the port; `tls`: the port, for clients that have the export's key. Absent: the port, without
     * TLS (older hubs).
     */
    readonly transport?: 'unix' | 'tls';
    readonly requested_at: string;
  }
>;
/** An NBD handshake with the server has succeeded. */
export type NbdExportStarted = DomainEvent<
  'NbdExportStarted',
  {
    readonly pid: number;
    /** Start time of the process in clock ticks since boot (field 22 of /proc/<pid>/stat): together with the boot id it identifies the process permanently. */
    readonly process_start_ticks: string;
    readonly boot_id: string;
    readonly started_at: string;
  }
>;
export type NbdExportStartFailed = DomainEvent<
  'NbdExportStartFailed',
  {
    readonly code: 'tool_missing' | 'exited_early' | 'handshake_timeout' | 'port_in_use';
    /** null: killed by a signal, or never started. */
    readonly exit_code: number | null;
    /** The end of its standard error, 4 KiB at most. */
    readonly stderr: string;
    readonly failed_at: string;
  }
>;
/** Stopped by the hub. */
export type NbdExportStopped = DomainEvent<'NbdExportStopped', { readonly signal: 'SIGTERM' | 'SIGKILL' | 'none'; readonly stopped_at: string }>;
/** Ended on its own while it was needed. */
export type NbdExportExited = DomainEvent<'NbdExportExited', { readonly exit_code: number | null; readonly stderr: string; readonly detected_at: string }>;

/** Stream `nbdExport-<export_id>`. */
export type NbdExportEvent = NbdExportRequested | NbdExportStarted | NbdExportStartFailed | NbdExportStopped | NbdExportExited;

export function nbdExportStream(exportId: string): string {
  return `nbdExport-${exportId}`;
}
