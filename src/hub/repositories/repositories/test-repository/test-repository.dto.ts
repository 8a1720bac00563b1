import { IsBoolean, IsIn, IsString, MaxLength } from 'class-validator';
import { Optional } from '../../../../contract/validation/presence.decorators.js';

const TYPES = ['local'] as const;

export class TestRepositoryDto {
  @IsIn(TYPES)
  readonly type!: (typeof TYPES)[number];

  /** @example "/srv/backups" */
  @IsString()
  @MaxLength(4096)
  readonly path!: string;

  /** Whether the path must be a mount point @example false */
  @Optional()
  @IsBoolean()
  readonly require_mount?: boolean;
}

export class RepositoryCheckDto {
  readonly name!: 'absolute_path' | 'mounted' | 'exists' | 'directory' | 'separate' | 'unused' | 'writable';
  readonly ok!: boolean;
  /** Result of the check and, if it failed, what to do @example "A file was written, synced to disk, read back and removed." */
  readonly detail!: string;
}

export class RepositoryTestDto {
  /** Whether POST /repositories would accept the path */ readonly ok!: boolean;
  /** In order; ends at a failed check that makes the rest meaningless */
  readonly checks!: readonly RepositoryCheckDto[];
  /** @example 42949672960 */ readonly free_bytes!: number | null;
  /** @example 107374182400 */ readonly total_bytes!: number | null;
}
