import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsInt, IsString, Max, MaxLength, Min } from 'class-validator';
import { DEFAULT_LIMIT, MAX_LIMIT } from '../../../operations/http/cursor-page.js';
import { QueryBoolean } from '../../../operations/http/query-boolean.decorator.js';
import type { NameEncoding } from '../../mounts/guest-browser/guest-name.js';
import { GuestFileResponse, GuestPathQuery } from '../model/guest-file.response.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

export class ListFilesQuery extends GuestPathQuery {
  @ApiPropertyOptional({
    description: 'List everything below the directory, each directory before its content; links are not followed',
    default: false,
    example: false,
  })
  @Optional()
  @QueryBoolean()
  recursive?: boolean;

  @ApiPropertyOptional({ description: 'Maximum number of entries per page', minimum: 1, maximum: MAX_LIMIT, default: DEFAULT_LIMIT, example: 100 })
  @Optional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(MAX_LIMIT)
  limit: number = DEFAULT_LIMIT;

  @ApiPropertyOptional({ description: 'The `next_cursor` of the previous page; absent for the first page', example: 'eyJhZnRlciI6ImV0YyJ9' })
  @Optional()
  @IsString()
  @MaxLength(4096)
  cursor?: string;
}

export class FileListDto {
  @ApiProperty({ description: 'The listed directory, with links resolved', example: '/etc' }) readonly path!: string;
  @ApiProperty({ enum: ['utf-8', 'percent'], description: 'Encoding of `path`', example: 'utf-8' }) readonly name_encoding!: NameEncoding;
  @ApiProperty({ type: [GuestFileResponse], description: 'In byte order of their names' }) readonly files!: readonly GuestFileResponse[];
  @ApiProperty({ type: 'integer', nullable: true, description: 'Number of entries on all pages; null: the tree is too large to count quickly', example: 1 })
  readonly total_count!: number | null;
  @ApiProperty({ type: 'string', nullable: true, description: 'Pass as `cursor` for the next page; null on the last page', example: null })
  readonly next_cursor!: string | null;
}
