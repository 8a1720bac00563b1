import { IsBoolean, IsIn, IsString, Matches, MaxLength } from 'class-validator';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

const TYPES = ['local'] as const;

export class MoveRepositoryDto {
  @IsIn(TYPES)
  readonly type!: (typeof TYPES)[number];

  /** Absolute path of the folder that holds the repository now @example "/mnt/backups" */
  @IsString()
  @MaxLength(4096)
  @Matches(/^\/[^\p{Cc}]*$/u, { message: 'path must be an absolute path without control characters' })
  readonly path!: string;

  /** Whether the path must be a mount point whenever the repository is used @example true */
  @Optional()
  @IsBoolean()
  readonly require_mount?: boolean;
}
