import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn } from 'class-validator';
import { QueryBoolean } from '../../../operations/http/query-boolean.decorator.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

const FORMATS = ['raw', 'qcow2'] as const;

export class DownloadDiskQuery {
  @ApiPropertyOptional({ enum: FORMATS, default: 'raw', description: '`qcow2` omits holes and zeroes', example: 'qcow2' })
  @Optional()
  @IsIn(FORMATS)
  format: (typeof FORMATS)[number] = 'raw';

  @ApiPropertyOptional({
    type: Boolean,
    default: false,
    description: 'Download even if the restore point is known to be damaged, as far as it can be read',
    example: false,
  })
  @Optional()
  @QueryBoolean()
  allow_damaged = false;
}
