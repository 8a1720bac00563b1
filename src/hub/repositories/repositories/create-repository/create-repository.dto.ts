import { IsIn, IsString, Matches, MaxLength } from 'class-validator';
import type { RepositoryType } from '../model/repository.events.js';

const TYPES = ['local'] as const satisfies readonly RepositoryType[];

export class CreateRepositoryDto {
  /** Unique display name @example "main" */
  @IsString()
  @MaxLength(128)
  @Matches(/^(?!\s)[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+(?<!\s)$/u, { message: 'name must have no control characters and neither begin nor end with a space' })
  readonly name!: string;

  @IsIn(TYPES)
  readonly type!: RepositoryType;

  /** Absolute path of an existing folder that the hub can write to @example "/srv/backups" */
  @IsString()
  @MaxLength(4096)
  @Matches(/^\/[^\p{Cc}]*$/u, { message: 'path must be an absolute path without control characters' })
  readonly path!: string;
}

export class CreatedRepositoryDto {
  /** @format uuid @example "0193a5c2-7d1e-7000-8000-000000000003" */ readonly repository_id!: string;
  /** @example "main" */ readonly name!: string;
  readonly type!: RepositoryType;
  /** @example "/srv/backups" */ readonly path!: string;
  /** @format date-time @example "2026-11-21T10:15:00.000Z" */ readonly created_at!: string;
  /** For ?after= @example "0000000000000000042" */ readonly position!: string | null;
}
