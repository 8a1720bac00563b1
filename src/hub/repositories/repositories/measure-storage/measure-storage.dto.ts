export class RepositoryStorageDto {
  /** @example 107374182400 */ readonly total_bytes!: number;
  /** Space available to the hub @example 42949672960 */ readonly free_bytes!: number;
  /** Total length of all files of its restore points @example 21474836480 */ readonly used_by_backups_bytes!: number;
  /** Number of restore points in the repository @example 12 */ readonly restore_points!: number;
  /** @format date-time @example "2026-11-21T10:15:00.000Z" */ readonly measured_at!: string;
}
