import { ApiProperty } from '@nestjs/swagger';

export class RepositoryStorageDto {
  @ApiProperty({ example: 107_374_182_400 })
  readonly total_bytes!: number;
  @ApiProperty({ description: 'Space available to the hub', example: 42_949_672_960 })
  readonly free_bytes!: number;
  @ApiProperty({ description: 'Total length of all files of its restore points', example: 21_474_836_480 })
  readonly used_by_backups_bytes!: number;
  @ApiProperty({ description: 'Number of restore points in the repository', example: 12 })
  readonly restore_points!: number;
  @ApiProperty({ format: 'date-time', example: '2026-11-21T10:15:00.000Z' })
  readonly measured_at!: string;
}
