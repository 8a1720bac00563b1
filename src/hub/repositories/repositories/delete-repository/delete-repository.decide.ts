import { DomainError } from '../../../../kernel/domain-error.js';
import type { RepositoryEvent } from '../model/repository.events.js';
import type { RepositoryState } from '../model/repository.state.js';

export type DeleteRepositoryData = {
  readonly repository_id: string;
  readonly restore_points: number;
  /** Pending and running backups, and ended ones whose cleanup has not finished. */
  readonly unfinished_backups: number;
  /** Copies in it, and copies under way into it or out of it. */
  readonly copies: number;
  /** Names of the policies that use it, also of disabled ones. */
  readonly policies: readonly string[];
  readonly deleted_at: string;
};

export function decideDeleteRepository(command: DeleteRepositoryData, state: RepositoryState): readonly RepositoryEvent[] {
  const { repository_id, restore_points, unfinished_backups, copies, policies } = command;
  if (state.status !== 'active') throw new DomainError('not_found', 'repository_not_found', `There is no repository ${repository_id}.`, { repository_id });
  if (policies.length > 0) {
    const names = policies.map((name) => `"${name}"`).join(', ');
    throw new DomainError(
      'conflict',
      'repository_used_by_policies',
      `Repository "${state.repository.name}" is used by ${policies.length === 1 ? 'policy' : 'policies'} ${names}. Give them another repository, or delete them first.`,
      { repository_id, policies },
    );
  }
  if (restore_points + unfinished_backups + copies > 0) {
    throw new DomainError(
      'conflict',
      'repository_has_backups',
      `Repository "${state.repository.name}" holds ${restore_points} restore points, ${copies} copies and ${unfinished_backups} unfinished backups. Delete or finish them first.`,
      { repository_id, restore_points, unfinished_backups, copies },
    );
  }
  return [{ type: 'RepositoryDeleted', data: { deleted_at: command.deleted_at } }];
}
