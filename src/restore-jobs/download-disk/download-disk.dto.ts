import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsOptional } from 'class-validator';
import { QueryBoolean } from '../../platform/http/query-boolean.decorator.js';

export class DownloadDiskQuery {
  @ApiPropertyOptional({
    enum: ['raw'],
    default: 'raw',
    description: 'raw; a qcow2 file cannot be streamed before it is whole: restore to a folder for one',
    example: 'raw',
  })
  @IsOptional()
  @IsIn(['raw'])
  format = 'raw';

  @ApiPropertyOptional({
    type: Boolean,
    default: false,
    description: 'Download from a restore point that is known to be damaged, as far as it can be read',
    example: false,
  })
  @IsOptional()
  @QueryBoolean()
  allow_damaged = false;
}
