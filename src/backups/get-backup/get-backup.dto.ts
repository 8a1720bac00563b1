import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsISO8601, IsOptional } from 'class-validator';

export class GetBackupQuery {
  @ApiPropertyOptional({ description: 'Show the backup as it stood at this time', example: '2026-11-21T10:30:30Z' })
  @IsOptional()
  @IsISO8601({ strict: true })
  as_of?: string;
}
