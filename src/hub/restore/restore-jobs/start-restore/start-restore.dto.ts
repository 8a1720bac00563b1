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

  @ApiPropertyOptional({ type: [Number], description: 'Numbers of the disks, from 0; absent: all of them', example: [0] })
  @Optional()
  @ArrayMinSize(1)
  @ArrayMaxSize(1000)
  @IsInt({ each: true })
  @Min(0, { each: true })
  disks?: number[];

  @ApiProperty({ description: 'Absolute path of a folder of the hub that exists', example: '/srv/restore' })
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
    description: '`flattened`: one file a disk. `chain`: the full and each incremental as files that stand on each other; qcow2 only',
    example: 'flattened',
  })
  @Optional()
  @IsIn(SHAPES)
  chain: RestoreShape = 'flattened';

  @ApiPropertyOptional({ type: Boolean, default: false, description: 'Whether files of the same names may be replaced', example: false })
  @Optional()
  @IsBoolean()
  overwrite = false;

  @ApiPropertyOptional({
    type: Boolean,
    default: false,
    description:
      'Restore from a restore point that is known to be damaged, as far as it can be read; `damaged_sources` of the job then says what is not what was sealed',
    example: false,
  })
  @Optional()
  @IsBoolean()
  allow_damaged = false;
}
