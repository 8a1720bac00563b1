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
  readonly deleted_at: string;
};

export function decideDeleteRepository(command: DeleteRepositoryData, state: RepositoryState): readonly RepositoryEvent[] {
  const { repository_id, restore_points, unfinished_backups, copies } = command;
  if (state.status !== 'active') throw new DomainError('not_found', 'repository_not_found', `There is no repository ${repository_id}.`, { repository_id });
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
