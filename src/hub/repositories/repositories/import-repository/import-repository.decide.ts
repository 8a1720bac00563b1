import { DomainError } from '../../../../kernel/domain-error.js';
import type { RepositoryEvent, RepositoryImported } from '../model/repository.events.js';
import type { RepositoryState } from '../model/repository.state.js';

export type ImportRepositoryData = {
  readonly repository: RepositoryImported['data'];
  /** Id of another repository with this name; null: none. */
  readonly name_holder: string | null;
  /** The first failed check of the path; null: none failed. */
  readonly failed: { readonly name: string; readonly detail: string } | null;
};

export function decideImportRepository({ repository, name_holder, failed }: ImportRepositoryData, state: RepositoryState): readonly RepositoryEvent[] {
  const { path, repository_id, name } = repository;
  if (state.status === 'active') {
    if (state.repository.location.path === path) return [];
    throw new DomainError(
      'conflict',
      'repository_already_used',
      `Repository ${repository_id} is known to this hub at "${state.repository.location.path}". To use it at "${path}" from now on, move it there.`,
      {
        repository_id,
        path: state.repository.location.path,
      },
    );
  }
  if (name_holder !== null) {
    throw new DomainError('conflict', 'repository_name_taken', `A repository named "${name}" already exists. Choose another name.`, {
      name,
      repository_id: name_holder,
    });
  }
  if (failed !== null) {
    const overlaps = failed.name === 'separate';
    throw new DomainError(
      overlaps ? 'conflict' : 'invalid',
      overlaps ? 'repository_overlaps' : failed.name === 'writable' ? 'repository_not_writable' : 'repository_path_invalid',
      `"${path}" cannot be imported. ${failed.detail}`,
      { path, check: failed.name },
    );
  }
  return [{ type: 'RepositoryImported', data: repository }];
}
