import { IsBoolean, IsIn, IsString, Matches, MaxLength } from 'class-validator';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

const TYPES = ['local'] as const;

export class CreateRepositoryDto {
  /** Unique display name @example "main" */
  @IsString()
  @MaxLength(128)
  @Matches(/^(?!\s)[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+(?<!\s)$/u, { message: 'name must have no control characters and neither begin nor end with a space' })
  readonly name!: string;

  @IsIn(TYPES)
  readonly type!: (typeof TYPES)[number];

  /** Absolute path of an existing folder that the hub can write to @example "/srv/backups" */
  @IsString()
  @MaxLength(4096)
  @Matches(/^\/[^\p{Cc}]*$/u, { message: 'path must be an absolute path without control characters' })
  readonly path!: string;

  /** Whether the path must be a mount point whenever the repository is used, so that nothing is written below an unmounted disk or share @example false */
  @Optional()
  @IsBoolean()
  readonly require_mount?: boolean;
}
