import { ApiProperty } from '@nestjs/swagger';

export class CleanupRunDto {
  @ApiProperty({ format: 'date-time', example: '2026-11-21T10:41:00.000Z' }) readonly started_at!: string;
  @ApiProperty({ format: 'date-time', example: '2026-11-21T10:41:00.020Z' }) readonly ended_at!: string;
  @ApiProperty({ type: 'integer', example: 2 }) readonly mounts_checked!: number;
  @ApiProperty({ type: 'integer', description: 'Taken down because nobody used them', example: 1 }) readonly expired!: number;
  @ApiProperty({ type: 'integer', description: 'Taken down because a process or the file system of theirs had gone', example: 0 }) readonly broken!: number;
  @ApiProperty({ type: 'integer', description: 'Remains of mounts that had ended before', example: 0 }) readonly orphans!: number;
  @ApiProperty({ type: [String], description: 'What could not be taken down; the next run tries again', example: [] }) readonly failures!: readonly string[];
}

export class CleanupStatusDto {
  @ApiProperty({ type: 'integer', example: 60 }) readonly interval_seconds!: number;
  @ApiProperty({ type: 'integer', description: 'A mount that nobody has used for so long is taken down', example: 3600 }) readonly idle_limit_seconds!: number;
  @ApiProperty({ description: 'Whether a run is under way', example: false }) readonly running!: boolean;
  @ApiProperty({ type: 'integer', description: 'Since the hub started', example: 17 }) readonly total_runs!: number;
  @ApiProperty({ type: CleanupRunDto, nullable: true, description: 'null: none since the hub started' }) readonly last_run!: CleanupRunDto | null;
  @ApiProperty({ format: 'date-time', example: '2026-11-21T10:42:00.000Z' }) readonly next_run_at!: string;
}
