import { ApiProperty } from '@nestjs/swagger';
import { IsIn } from 'class-validator';
import { GuestPathQuery } from '../model/guest-file.response.js';

const FORMATS = ['zip', 'tar.gz'] as const;

export class DownloadDirectoryQuery extends GuestPathQuery {
  @ApiProperty({ enum: FORMATS, description: '`tar.gz` keeps owners and names in any encoding; `zip` can be opened on any system', example: 'tar.gz' })
  @IsIn(FORMATS)
  format!: (typeof FORMATS)[number];
}
