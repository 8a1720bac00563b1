import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { ArrayMaxSize, ArrayMinSize, IsArray, IsInt, IsString, Matches, Max, MaxLength, Min } from 'class-validator';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

const MAX_PORTS_OF_A_JOB = 1000;

export class AllocatePortsDto {
  @ApiProperty({
    description: 'The job that gets the ports; a repeated request returns the same ports',
    maxLength: 128,
    example: '0193a5c2-7d1e-7000-8000-000000000004',
  })
  @IsString()
  @MaxLength(128)
  @Matches(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, { message: 'job_id must consist of letters, digits, dots, dashes and underscores' })
  readonly job_id!: string;

  @ApiPropertyOptional({ description: 'Number of ports; instead of export_names', minimum: 1, maximum: MAX_PORTS_OF_A_JOB, example: 2 })
  @Optional()
  @IsInt()
  @Min(1)
  @Max(MAX_PORTS_OF_A_JOB)
  readonly count?: number;

  @ApiPropertyOptional({
    description: 'One port for each name; instead of count',
    type: [String],
    example: ['backup-pgtest1-disk0-full-20261121T101500Z', 'backup-pgtest1-disk1-full-20261121T101500Z'],
  })
  @Optional()
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(MAX_PORTS_OF_A_JOB)
  @Matches(/^[^\p{Cc}]{1,64}$/u, { each: true, message: 'each of export_names must be 1 to 64 characters long, without control characters' })
  readonly export_names?: readonly string[];
}

export class AllocatedPortDto {
  @ApiProperty({ example: 10100 })
  readonly port!: number;
  @ApiProperty({ type: 'string', nullable: true, example: 'backup-pgtest1-disk0-full-20261121T101500Z' })
  readonly export_name!: string | null;
}

export class AllocatedPortsDto {
  @ApiProperty({ example: '0193a5c2-7d1e-7000-8000-000000000004' })
  readonly job_id!: string;
  @ApiProperty({ type: [AllocatedPortDto], description: 'In the order of export_names' })
  readonly ports!: readonly AllocatedPortDto[];
  @ApiProperty({ type: 'string', nullable: true, description: 'For ?after=', example: '0000000000000000042' })
  readonly position!: string | null;
}
