import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { localLocation, type RepositoryEvent } from '../model/repository.events.js';
import { evolveRepository, initialRepositoryState } from '../model/repository.state.js';
import { decideDeleteRepository } from './delete-repository.decide.js';

const { given } = specificationOf({ initialState: initialRepositoryState, evolve: evolveRepository, decide: decideDeleteRepository });
const created: RepositoryEvent = {
  type: 'RepositoryCreatedV2',
  data: { repository_id: 'repository-1', name: 'main', location: localLocation('/srv/backups'), created_at: '2026-11-21T10:15:00.000Z' },
};
const deleted: RepositoryEvent = { type: 'RepositoryDeleted', data: { deleted_at: '2026-11-21T11:00:00.000Z' } };
const command = { repository_id: 'repository-1', restore_points: 0, unfinished_backups: 0, copies: 0, policies: [], deleted_at: '2026-11-21T11:00:00.000Z' };

describe('deleting a repository', () => {
  it('is possible without backups', () => {
    given(created).when(command).then(deleted);
  });

  it('is refused while restore points or unfinished backups exist', () => {
    given(created)
      .when({ ...command, restore_points: 3 })
      .thenRefused('repository_has_backups');
    given(created)
      .when({ ...command, unfinished_backups: 1 })
      .thenRefused('repository_has_backups');
    given(created)
      .when({ ...command, copies: 1 })
      .thenRefused('repository_has_backups');
  });

  it('is refused while policies use it, with their names', () => {
    given(created)
      .when({ ...command, policies: ['nightly', 'weekly'] })
      .thenRefused('repository_used_by_policies');
  });

  it('is refused for an unknown and for a deleted repository', () => {
    given().when(command).thenRefused('repository_not_found');
    given(created, deleted).when(command).thenRefused('repository_not_found');
  });
});
