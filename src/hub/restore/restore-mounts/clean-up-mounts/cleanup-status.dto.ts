export class CleanupRunDto {
  /** @format date-time @example "2026-11-21T10:41:00.000Z" */ readonly started_at!: string;
  /** @format date-time @example "2026-11-21T10:41:00.020Z" */ readonly ended_at!: string;
  /** @integer @example 2 */ readonly mounts_checked!: number;
  /** Mounts removed because they were idle @integer @example 1 */ readonly expired!: number;
  /** Mounts removed because a process or the file system had gone @integer @example 0 */ readonly broken!: number;
  /** Remains of mounts that had already ended @integer @example 0 */ readonly orphans!: number;
  /** Mounts that could not be removed, with the reason; the next run retries @example [] */
  readonly failures!: readonly string[];
}

export class CleanupStatusDto {
  /** @integer @example 60 */ readonly interval_seconds!: number;
  /** Idle time after which a mount is removed @integer @example 3600 */ readonly idle_limit_seconds!: number;
  /** Whether a run is in progress */ readonly running!: boolean;
  /** Runs since the hub started @integer @example 17 */ readonly total_runs!: number;
  /** null: no run since the hub started */ readonly last_run!: CleanupRunDto | null;
  /** @format date-time @example "2026-11-21T10:42:00.000Z" */ readonly next_run_at!: string;
}
