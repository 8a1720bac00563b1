import type { CommandContext } from '../../kernel/command-context.js';
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
