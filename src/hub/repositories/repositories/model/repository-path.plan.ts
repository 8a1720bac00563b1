import { DomainError } from '../../../../kernel/domain-error.js';
import { unknownVariant } from '../../../../kernel/decider.js';

/** Result of one check of the path. */
export type PathCheck = {
  readonly name: 'absolute_path' | 'mounted' | 'exists' | 'directory' | 'separate' | 'unused' | 'writable';
  readonly ok: boolean;
  readonly detail: string;
};

/** The refusal of a path of which a check failed. @param markerId id in the marker at the path; null: no marker */
export function pathRefusal(check: PathCheck, path: string, markerId: string | null): DomainError {
  const facts = { path, check: check.name };
  switch (check.name) {
    case 'absolute_path':
      return new DomainError('invalid', 'repository_path_invalid', `The path of a repository must be absolute: ${check.detail}`, facts);
    case 'mounted':
      return new DomainError('invalid', 'repository_not_mounted', check.detail, facts);
    case 'exists':
      return new DomainError('invalid', 'repository_path_missing', check.detail, facts);
    case 'directory':
      return new DomainError('invalid', 'repository_path_not_a_directory', check.detail, facts);
    case 'separate':
      return new DomainError('conflict', 'repository_overlaps', `"${path}" cannot be a repository. ${check.detail}`, facts);
    case 'unused':
      return new DomainError('conflict', 'repository_already_used', `"${path}" cannot become a new repository. ${check.detail}`, {
        ...facts,
        marker_repository_id: markerId,
      });
    case 'writable':
      return new DomainError('invalid', 'repository_not_writable', `"${path}" cannot be a repository. ${check.detail}`, facts);
    default:
      return unknownVariant('check of a repository path', check.name);
  }
}
