export type NbdProcessTransport = 'unix' | 'tls';

export type NbdProcessState = 'starting' | 'running' | 'ended';

export class NbdProcessDto {
  /** @format uuid @example "0193a5c2-7d1e-7000-8000-000000000003" */ readonly export_id!: string;
  /** The job it serves, usually a backup @example "0193a5c2-7d1e-7000-8000-000000000004" */ readonly job_id!: string;
  /** null while the server starts @integer @example 4711 */ readonly pid!: number | null;
  /** The pool port it holds @example 10100 */ readonly port!: number;
  /**
   * `unix`: it listens on a socket in a private directory, not on its port; `tls`: it listens on its port and accepts clients that have its key; null: it
   * listens on its port and accepts any client (started by an older hub)
   */
  readonly transport!: NbdProcessTransport | null;
  /** Where it listens: `<host>:<port>`, or the path of the socket @example "127.0.0.1:10100" */
  readonly listens_on!: string;
  /** @example "backup-pgtest1-disk0-full-20261121T101500Z" */ readonly export_name!: string;
  /** The file it serves @example "/srv/backups/pgtest1/0193a5c2/disk-0.qcow2" */ readonly file!: string;
  readonly read_only!: boolean;
  /** Seconds since the server was ready for clients @example 12.4 */ readonly uptime_seconds!: number;
  /** Established connections, including clients that have not presented a key yet @example 4 */
  readonly connections!: number;
  /** Maximum number of concurrent clients; 0: unlimited @example 10 */ readonly shared_limit!: number;
  /** `ended`: the process is gone, but its end is not recorded yet */ readonly state!: NbdProcessState;
  /** @format date-time @example "2026-11-21T10:15:00.000Z" */ readonly started_at!: string | null;
}

export class NbdProcessListDto {
  readonly processes!: readonly NbdProcessDto[];
  /** @example 1 */ readonly total_count!: number;
}
