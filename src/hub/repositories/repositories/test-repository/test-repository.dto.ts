import { LocationDto } from '../model/location.dto.js';
import { RepositoryCapabilitiesDto } from '../model/repository.response.js';

export class TestRepositoryDto extends LocationDto {}

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
  /** null: not measured, as for a local folder @example null */ readonly capabilities!: RepositoryCapabilitiesDto | null;
  /** @example 42949672960 */ readonly free_bytes!: number | null;
  /** @example 107374182400 */ readonly total_bytes!: number | null;
}
