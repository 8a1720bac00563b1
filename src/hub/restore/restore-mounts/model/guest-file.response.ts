import { IsIn, IsString, MaxLength } from 'class-validator';
import type { GuestFileType, PathText } from '../../mounts/guest-browser/browser-protocol.js';
import type { NameEncoding } from '../../mounts/guest-browser/guest-name.js';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

const ENCODINGS = ['utf-8', 'percent'] as const satisfies readonly NameEncoding[];

export const NAME_ENCODING_TEXT =
  '`utf-8`: the text is the name. `percent`: a name is not valid UTF-8, so invalid bytes, control characters and `%` itself are written as `%XX`; ' +
  'send such a path back with `name_encoding=percent`';

/** Query of routes for one path in a mount. */
export class GuestPathQuery {
  /** Path from the root of the file system, without `..` @default "/" @example "/etc/hostname" */
  @Optional()
  @IsString()
  @MaxLength(4096)
  path?: string;

  /**
   * Encoding of `path`. `utf-8`: the text is the name. `percent`: a name is not valid UTF-8, so invalid bytes, control characters and `%` itself are written
   * as `%XX`; send such a path back with `name_encoding=percent`
   * @default "utf-8"
   */
  @Optional()
  @IsIn(ENCODINGS)
  name_encoding?: NameEncoding;
}

export function pathTextOf(query: GuestPathQuery): PathText {
  return { path: query.path ?? '/', encoding: query.name_encoding ?? 'utf-8' };
}

/** A file, directory or other entry of the guest. */
export class GuestFileResponse {
  /** @example "hostname" */ readonly name!: string;
  /** Path from the root of the file system @example "/etc/hostname" */ readonly path!: string;
  /**
   * Encoding of name, path and link_target. `utf-8`: the text is the name. `percent`: a name is not valid UTF-8, so invalid bytes, control characters and `%`
   * itself are written as `%XX`; send such a path back with `name_encoding=percent`
   */
  readonly name_encoding!: NameEncoding;
  /** `unreadable`: the file system is damaged at this entry */ readonly type!: GuestFileType;
  /** In bytes @integer @example 8 */ readonly size!: number;
  /** Permissions in octal, with the special bits @example "0644" */ readonly mode!: string;
  /** @integer @example 0 */ readonly uid!: number;
  /** @integer @example 0 */ readonly gid!: number;
  /** null when the stored time is out of range @format date-time @example "2026-11-20T08:00:00.000Z" */
  readonly modified_time!: string | null;
  readonly is_symlink!: boolean;
  /** Target of a symbolic link, as stored @example null */ readonly link_target!: string | null;
}
