import type { CommandContext } from '../../../../kernel/command-context.js';
import type { RepositoryCreated, RepositoryType } from './repository.events.js';

/**
 * Make a folder a repository. The result is a RepositoryCreation.
 * @throws DomainError repository_name_taken, repository_already_used, repository_overlaps, repository_path_invalid, repository_path_missing,
 * repository_path_not_a_directory, repository_not_writable
 */
export class CreateRepository {
  constructor(
    readonly name: string,
    readonly type: RepositoryType,
    readonly path: string,
    readonly context: CommandContext,
  ) {}
}

export type RepositoryCreation = { readonly repository: RepositoryCreated['data']; readonly position: string | null };

/**
 * Forget a repository that holds no backups, and take its marker away. The result is the position of the deletion.
 * @throws DomainError repository_not_found, repository_has_backups
 */
export class DeleteRepository {
  constructor(
    readonly repositoryId: string,
    readonly context: CommandContext,
  ) {}
}

/**
 * Takes over a repository that another hub has made, with its restore points. Repeated, it takes over what has come since. The result is a RepositoryImport.
 * @throws DomainError repository_name_taken, repository_marker_missing, repository_already_used, repository_overlaps, repository_path_*, repository_not_writable
 */
export class ImportRepository {
  constructor(
    readonly path: string,
    readonly name: string,
    readonly context: CommandContext,
  ) {}
}

export type RepositoryImport = {
  readonly repository: RepositoryCreated['data'];
  /** False when the repository was known already. */
  readonly created: boolean;
  /** Ids of the restore points that were taken over now. */
  readonly imported: readonly string[];
  readonly already_known: number;
  /** Restore points that could not be taken over, and why. */
  readonly skipped: readonly { readonly folder: string; readonly reason: string }[];
  readonly position: string | null;
};
