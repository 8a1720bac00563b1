import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { ArrayMaxSize, ArrayMinSize, IsBoolean, IsIn, IsInt, IsString, Matches, MaxLength, Min } from 'class-validator';
import type { RestoreFormat, RestoreShape } from '../model/restore-job.events.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';
import { IsUuid } from '../../../../lib/http/uuid.decorator.js';

const FORMATS: readonly RestoreFormat[] = ['raw', 'qcow2', 'vmdk'];
const SHAPES: readonly RestoreShape[] = ['flattened', 'chain'];

export class StartRestoreRequest {
  @ApiProperty({ description: 'The restore point: any completed backup', example: '0199a3c4-7c1e-7b7a-9d2c-3c1f0e5b7a11' })
  @IsUuid()
  backup_id!: string;

  @ApiPropertyOptional({ type: [Number], description: 'Indexes of the disks, from 0; absent: all disks', example: [0] })
  @Optional()
  @ArrayMinSize(1)
  @ArrayMaxSize(1000)
  @IsInt({ each: true })
  @Min(0, { each: true })
  disks?: number[];

  @ApiProperty({ description: 'Absolute path of an existing directory on the hub', example: '/srv/restore' })
  @IsString()
  @MaxLength(3800)
  @Matches(/^\/[^\p{Cc}]*$/u, { message: 'target_path must be an absolute path without control characters' })
  target_path!: string;

  @ApiProperty({ enum: FORMATS, example: 'raw' })
  @IsIn(FORMATS)
  format!: RestoreFormat;

  @ApiPropertyOptional({
    enum: SHAPES,
    default: 'flattened',
    description: '`flattened`: one file per disk. `chain`: the full backup and each incremental as a chain of backing files; qcow2 only',
    example: 'flattened',
  })
  @Optional()
  @IsIn(SHAPES)
  chain: RestoreShape = 'flattened';

  @ApiPropertyOptional({ type: Boolean, default: false, description: 'Whether to replace existing files of the same names', example: false })
  @Optional()
  @IsBoolean()
  overwrite = false;

  @ApiPropertyOptional({
    type: Boolean,
    default: false,
    description:
      'Restore even if the restore point is known to be damaged, as far as it can be read; `damaged_sources` of the job then lists the files that differ from the sealed ones',
    example: false,
  })
  @Optional()
  @IsBoolean()
  allow_damaged = false;
}
