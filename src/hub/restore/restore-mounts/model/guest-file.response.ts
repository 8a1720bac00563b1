import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsString, MaxLength } from 'class-validator';
import type { GuestFileType, PathText } from '../../mounts/guest-browser/browser-protocol.js';
import type { NameEncoding } from '../../mounts/guest-browser/guest-name.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

const ENCODINGS = ['utf-8', 'percent'] as const satisfies readonly NameEncoding[];
const TYPES = ['file', 'directory', 'symlink', 'block_device', 'char_device', 'fifo', 'socket', 'unreadable'] as const satisfies readonly GuestFileType[];

export const NAME_ENCODING_TEXT =
  '`utf-8`: the text is the name. `percent`: a name is not valid UTF-8, so invalid bytes, control characters and `%` itself are written as `%XX`; ' +
  'send such a path back with `name_encoding=percent`';

/** Query of routes for one path in a mount. */
export class GuestPathQuery {
  @ApiPropertyOptional({ description: 'Path from the root of the file system, without `..`', default: '/', example: '/etc/hostname' })
  @Optional()
  @IsString()
  @MaxLength(4096)
  path?: string;

  @ApiPropertyOptional({ enum: ENCODINGS, description: `Encoding of \`path\`. ${NAME_ENCODING_TEXT}`, default: 'utf-8', example: 'utf-8' })
  @Optional()
  @IsIn(ENCODINGS)
  name_encoding?: NameEncoding;
}

export function pathTextOf(query: GuestPathQuery): PathText {
  return { path: query.path ?? '/', encoding: query.name_encoding ?? 'utf-8' };
}

/** A file, directory or other entry of the guest. */
export class GuestFileResponse {
  @ApiProperty({ example: 'hostname' }) readonly name!: string;
  @ApiProperty({ description: 'Path from the root of the file system', example: '/etc/hostname' }) readonly path!: string;
  @ApiProperty({ enum: ENCODINGS, description: `Encoding of name, path and link_target. ${NAME_ENCODING_TEXT}`, example: 'utf-8' })
  readonly name_encoding!: NameEncoding;
  @ApiProperty({ enum: TYPES, description: '`unreadable`: the file system is damaged at this entry', example: 'file' }) readonly type!: GuestFileType;
  @ApiProperty({ type: 'integer', description: 'In bytes', example: 8 }) readonly size!: number;
  @ApiProperty({ description: 'Permissions in octal, with the special bits', example: '0644' }) readonly mode!: string;
  @ApiProperty({ type: 'integer', example: 0 }) readonly uid!: number;
  @ApiProperty({ type: 'integer', example: 0 }) readonly gid!: number;
  @ApiProperty({
    type: 'string',
    format: 'date-time',
    nullable: true,
    description: 'null when the stored time is out of range',
    example: '2026-11-20T08:00:00.000Z',
  })
  readonly modified_time!: string | null;
  @ApiProperty({ example: false }) readonly is_symlink!: boolean;
  @ApiProperty({ type: 'string', nullable: true, description: 'Target of a symbolic link, as stored', example: null }) readonly link_target!: string | null;
}
