import { Command } from '@nestjs/cqrs';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Position } from '../../../../kernel/position.js';
import type { Immutability, RepositoryCapabilities, RepositoryFacts, RequestedLocation } from './repository.events.js';

/**
 * Creates a repository in a folder or on a share.
 * @throws DomainError repository_name_taken, repository_already_used, repository_overlaps, repository_path_invalid, repository_path_missing,
 * repository_path_not_a_directory, repository_not_mounted, repository_not_writable, share_not_mounted
 */
export class CreateRepository extends Command<RepositoryCreation> {
  constructor(
    readonly name: string,
    readonly location: RequestedLocation,
    readonly context: CommandContext,
  ) {
    super();
  }
}

export type RepositoryCreation = {
  readonly repository: RepositoryFacts;
  readonly capabilities: RepositoryCapabilities | null;
  readonly position: string | null;
};

/**
 * Records that a repository is at another place now, where its marker is. Nothing is copied or moved.
 * @throws DomainError repository_not_found, repository_in_use, repository_overlaps, repository_marker_missing, repository_already_used, repository_path_*,
 * repository_not_mounted, repository_not_writable, share_not_mounted
 */
export class MoveRepository extends Command<RepositoryCreation> {
  constructor(
    readonly repositoryId: string,
    readonly location: RequestedLocation,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/**
 * Deletes a repository that holds no backups and no copies, and that no policy uses, and removes its marker. The result is the position of the deletion.
 * @throws DomainError repository_not_found, repository_used_by_policies, repository_has_backups
 */
export class DeleteRepository extends Command<Position | null> {
  constructor(
    readonly repositoryId: string,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/**
 * Sets how long restore points are locked from their sealing on.
 * @throws DomainError repository_not_found, immutability_invalid, immutability_only_lengthens
 */
export class SetImmutability extends Command<{ readonly position: Position | null }> {
  constructor(
    readonly repositoryId: string,
    readonly immutability: Immutability,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/**
 * Imports a repository of another hub, with its restore points. A repeated import adds restore points that appeared since.
 * @throws DomainError repository_name_taken, repository_marker_missing, repository_already_used, repository_overlaps, repository_path_*, repository_not_writable,
 * key_invalid
 */
export class ImportRepository extends Command<RepositoryImport> {
  constructor(
    readonly path: string,
    readonly name: string,
    /** Verifier keys. If there is one, manifests that another key has signed are skipped. */
    readonly keys: readonly string[],
    readonly context: CommandContext,
  ) {
    super();
  }
}

export type RepositoryImport = {
  readonly repository: RepositoryFacts;
  /** False if the repository was already known. */
  readonly created: boolean;
  /** Ids of the restore points that this command imported. */
  readonly imported: readonly string[];
  readonly already_known: number;
  /** Restore points that could not be imported, and why. */
  readonly skipped: readonly { readonly folder: string; readonly reason: string }[];
  /** Who has signed those that were imported or are already known. */
  readonly signatures: {
    readonly trusted: number;
    readonly unknown_key: number;
    readonly unsigned: number;
    /** Keys that were not given. */
    readonly unknown_keys: readonly string[];
  };
  readonly position: string | null;
};
