import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean, IsInt, Max, Min } from 'class-validator';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../lib/http/uuid.decorator.js';

export class RequestMountDto {
  @ApiProperty({ format: 'uuid', description: 'A completed backup', example: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11' })
  @IsUuid()
  readonly backup_id!: string;

  @ApiProperty({ type: 'integer', description: 'Index of the disk in the restore point, from 0', minimum: 0, example: 0 })
  @IsInt()
  @Min(0)
  @Max(4095)
  readonly disk_index!: number;

  @ApiPropertyOptional({
    type: 'integer',
    description: 'Number of the partition, as in `partitions` of a mount; absent: the largest file system that can be mounted',
    minimum: 0,
    example: 1,
  })
  @Optional()
  @IsInt()
  @Min(0)
  @Max(65_535)
  readonly partition?: number;

  @ApiPropertyOptional({
    type: Boolean,
    default: false,
    description: 'Mount the disk even if the restore point is known to be damaged, as far as it can be read',
    example: false,
  })
  @Optional()
  @IsBoolean()
  readonly allow_damaged?: boolean;
}
