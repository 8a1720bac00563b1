import { IsIn, IsString, MaxLength } from 'class-validator';
import type { RepositoryType } from '../model/repository.events.js';

const TYPES = ['local'] as const satisfies readonly RepositoryType[];

export class TestRepositoryDto {
  @IsIn(TYPES)
  readonly type!: RepositoryType;

  /** @example "/srv/backups" */
  @IsString()
  @MaxLength(4096)
  readonly path!: string;
}

export class RepositoryCheckDto {
  readonly name!: 'absolute_path' | 'exists' | 'directory' | 'separate' | 'unused' | 'writable';
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
