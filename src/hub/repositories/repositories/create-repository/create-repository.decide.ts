import { DomainError } from '../../../../kernel/domain-error.js';
import { unknownVariant } from '../../../../kernel/decider.js';
import type { RepositoryCreated, RepositoryEvent } from '../model/repository.events.js';
import type { RepositoryState } from '../model/repository.state.js';

/** Result of one check of the path. */
export type PathCheck = {
  readonly name: 'absolute_path' | 'exists' | 'directory' | 'separate' | 'unused' | 'writable';
  readonly ok: boolean;
  readonly detail: string;
};

export type CreateRepositoryData = {
  readonly repository: RepositoryCreated['data'];
  /** Id of another repository with this name; null: none. */
  readonly name_holder: string | null;
  readonly checks: readonly PathCheck[];
  /** Id in the marker at the path; null: no marker. */
  readonly marker_repository_id: string | null;
};

export function decideCreateRepository(command: CreateRepositoryData, state: RepositoryState): readonly RepositoryEvent[] {
  const { repository, name_holder } = command;
  if (state.status === 'active') return [];
  if (state.status === 'deleted') throw new Error(`repository ${repository.repository_id} was deleted; its id cannot be reused`);
  if (name_holder !== null) {
    throw new DomainError('conflict', 'repository_name_taken', `A repository named "${repository.name}" already exists. Choose another name.`, {
      name: repository.name,
      repository_id: name_holder,
    });
  }
  const failed = command.checks.find((check) => !check.ok);
  if (failed !== undefined) throw refusal(failed, command);
  return [{ type: 'RepositoryCreated', data: repository }];
}

function refusal(check: PathCheck, command: CreateRepositoryData): DomainError {
  const { path } = command.repository;
  const facts = { path, check: check.name };
  switch (check.name) {
    case 'absolute_path':
      return new DomainError('invalid', 'repository_path_invalid', `The path of a repository must be absolute: ${check.detail}`, facts);
    case 'exists':
      return new DomainError('invalid', 'repository_path_missing', check.detail, facts);
    case 'directory':
      return new DomainError('invalid', 'repository_path_not_a_directory', check.detail, facts);
    case 'separate':
      return new DomainError('conflict', 'repository_overlaps', `"${path}" cannot be a repository. ${check.detail}`, facts);
    case 'unused':
      return new DomainError('conflict', 'repository_already_used', `"${path}" cannot become a new repository. ${check.detail}`, {
        ...facts,
        marker_repository_id: command.marker_repository_id,
      });
    case 'writable':
      return new DomainError('invalid', 'repository_not_writable', `"${path}" cannot be a repository. ${check.detail}`, facts);
    default:
      return unknownVariant('check of a repository path', check.name);
  }
}
