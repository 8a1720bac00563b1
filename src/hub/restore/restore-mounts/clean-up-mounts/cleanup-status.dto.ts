import { ApiProperty } from '@nestjs/swagger';

export class CleanupRunDto {
  @ApiProperty({ format: 'date-time', example: '2026-11-21T10:41:00.000Z' }) readonly started_at!: string;
  @ApiProperty({ format: 'date-time', example: '2026-11-21T10:41:00.020Z' }) readonly ended_at!: string;
  @ApiProperty({ type: 'integer', example: 2 }) readonly mounts_checked!: number;
  @ApiProperty({ type: 'integer', description: 'Mounts removed because they were idle', example: 1 }) readonly expired!: number;
  @ApiProperty({ type: 'integer', description: 'Mounts removed because a process or the file system had gone', example: 0 }) readonly broken!: number;
  @ApiProperty({ type: 'integer', description: 'Remains of mounts that had already ended', example: 0 }) readonly orphans!: number;
  @ApiProperty({ type: [String], description: 'Mounts that could not be removed, with the reason; the next run retries', example: [] })
  readonly failures!: readonly string[];
}

export class CleanupStatusDto {
  @ApiProperty({ type: 'integer', example: 60 }) readonly interval_seconds!: number;
  @ApiProperty({ type: 'integer', description: 'Idle time after which a mount is removed', example: 3600 }) readonly idle_limit_seconds!: number;
  @ApiProperty({ description: 'Whether a run is in progress', example: false }) readonly running!: boolean;
  @ApiProperty({ type: 'integer', description: 'Runs since the hub started', example: 17 }) readonly total_runs!: number;
  @ApiProperty({ type: CleanupRunDto, nullable: true, description: 'null: no run since the hub started' }) readonly last_run!: CleanupRunDto | null;
  @ApiProperty({ format: 'date-time', example: '2026-11-21T10:42:00.000Z' }) readonly next_run_at!: string;
}
