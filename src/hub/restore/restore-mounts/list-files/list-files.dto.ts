import { Type } from 'class-transformer';
import { IsInt, IsString, Max, MaxLength, Min } from 'class-validator';
import { DEFAULT_LIMIT, MAX_LIMIT } from '../../../operations/http/cursor-page.js';
import { QueryBoolean } from '../../../operations/http/query-boolean.decorator.js';
import type { NameEncoding } from '../../mounts/guest-browser/guest-name.js';
import { GuestFileResponse, GuestPathQuery } from '../model/guest-file.response.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

export class ListFilesQuery extends GuestPathQuery {
  /** List everything below the directory, each directory before its content; links are not followed @default false */
  @Optional()
  @QueryBoolean()
  recursive?: boolean;

  /** Maximum number of entries per page @example 100 */
  @Optional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(MAX_LIMIT)
  limit: number = DEFAULT_LIMIT;

  /** The `next_cursor` of the previous page; absent for the first page @example "eyJhZnRlciI6ImV0YyJ9" */
  @Optional()
  @IsString()
  @MaxLength(4096)
  cursor?: string;
}

export class FileListDto {
  /** The listed directory, with links resolved @example "/etc" */ readonly path!: string;
  /** Encoding of `path` */ readonly name_encoding!: NameEncoding;
  /** In byte order of their names */ readonly files!: readonly GuestFileResponse[];
  /** Number of entries on all pages; null: the tree is too large to count quickly @integer @example 1 */
  readonly total_count!: number | null;
  /** Pass as `cursor` for the next page; null on the last page @example null */ readonly next_cursor!: string | null;
}
