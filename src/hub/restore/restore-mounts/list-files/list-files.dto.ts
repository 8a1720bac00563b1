import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsInt, IsString, Max, MaxLength, Min } from 'class-validator';
import { DEFAULT_LIMIT, MAX_LIMIT } from '../../../operations/http/cursor-page.js';
import { QueryBoolean } from '../../../operations/http/query-boolean.decorator.js';
import type { NameEncoding } from '../../mounts/guest-browser/guest-name.js';
import { GuestFileResponse, GuestPathQuery } from '../model/guest-file.response.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

export class ListFilesQuery extends GuestPathQuery {
  @ApiPropertyOptional({ description: 'Everything below the folder, each folder before what it holds; links are not followed', default: false, example: false })
  @Optional()
  @QueryBoolean()
  recursive?: boolean;

  @ApiPropertyOptional({ description: 'Entries on one page at most', minimum: 1, maximum: MAX_LIMIT, default: DEFAULT_LIMIT, example: 100 })
  @Optional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(MAX_LIMIT)
  limit: number = DEFAULT_LIMIT;

  @ApiPropertyOptional({ description: 'The `next_cursor` of the page before; absent for the first page', example: 'eyJhZnRlciI6ImV0YyJ9' })
  @Optional()
  @IsString()
  @MaxLength(4096)
  cursor?: string;
}

export class FileListDto {
  @ApiProperty({ description: 'The folder that is listed, with links followed', example: '/etc' }) readonly path!: string;
  @ApiProperty({ enum: ['utf-8', 'percent'], description: 'Of `path`', example: 'utf-8' }) readonly name_encoding!: NameEncoding;
  @ApiProperty({ type: [GuestFileResponse], description: 'In the order of the bytes of their names' }) readonly files!: readonly GuestFileResponse[];
  @ApiProperty({ type: 'integer', nullable: true, description: 'Over all pages; null: the tree is too large to be counted quickly', example: 1 })
  readonly total_count!: number | null;
  @ApiProperty({ type: 'string', nullable: true, description: 'Pass as `cursor` for the next page; null on the last', example: null })
  readonly next_cursor!: string | null;
}
