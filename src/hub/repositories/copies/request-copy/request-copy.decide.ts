import { DomainError } from '../../../../kernel/domain-error.js';
import type { CopyEvent, CopyRequested } from '../model/copy.events.js';
import type { CopyState } from '../model/copy.state.js';

export type RequestCopyAt = {
  readonly request: CopyRequested['data'];
  readonly backup_status: string;
  /** A copy of the same restore point in the same repository that has not ended, or that is a restore point; null: none. */
  readonly existing: { readonly copy_id: string; readonly status: string; readonly damaged: boolean } | null;
};

/** One restore point has at most one copy in a repository. */
export function decideRequestCopy({ request, backup_status, existing }: RequestCopyAt, state: CopyState): readonly CopyEvent[] {
  if (state.status !== 'none') return [];
  const { backup_id, repository_id, source_repository_id } = request;
  if (backup_status !== 'completed') {
    throw new DomainError('conflict', 'backup_not_copyable', `Backup ${backup_id} is ${backup_status}; only a completed backup can be copied.`, {
      backup_id,
      status: backup_status,
    });
  }
  if (repository_id === source_repository_id) {
    throw new DomainError(
      'invalid',
      'copy_target_is_source',
      `Restore point ${backup_id} is in repository ${repository_id} already. Set repository_id to another repository.`,
      { backup_id, repository_id },
    );
  }
  if (existing !== null) {
    const is = existing.status === 'completed' ? (existing.damaged ? 'damaged; delete it first' : 'complete') : 'under way';
    throw new DomainError(
      'conflict',
      'copy_exists',
      `Restore point ${backup_id} has a copy in repository ${repository_id} already: copy ${existing.copy_id} is ${is}.`,
      { backup_id, repository_id, copy_id: existing.copy_id },
    );
  }
  return [{ type: 'CopyRequested', data: request }];
}
