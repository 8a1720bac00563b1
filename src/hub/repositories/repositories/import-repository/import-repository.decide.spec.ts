import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { localLocation, type RepositoryEvent, type RepositoryImported } from '../model/repository.events.js';
import { evolveRepository, initialRepositoryState } from '../model/repository.state.js';
import { decideImportRepository, type ImportRepositoryData } from './import-repository.decide.js';

const { given } = specificationOf({ initialState: initialRepositoryState, evolve: evolveRepository, decide: decideImportRepository });
const at = '2026-11-21T10:15:00.000Z';
const repository: RepositoryImported['data'] = {
  repository_id: 'repository-1',
  name: 'main',
  type: 'local',
  path: '/srv/backups',
  created_at: at,
  imported_at: at,
};
const command: ImportRepositoryData = { repository, name_holder: null, failed: null };
const imported: RepositoryEvent = { type: 'RepositoryImported', data: repository };
const created: RepositoryEvent = {
  type: 'RepositoryCreatedV2',
  data: { repository_id: 'repository-1', name: 'main', location: localLocation('/srv/backups'), created_at: at },
};
const deleted: RepositoryEvent = { type: 'RepositoryDeleted', data: { deleted_at: at } };

describe('importing a repository', () => {
  it('takes it over, and again after it was deleted', () => {
    given().when(command).then(imported);
    given(created, deleted).when(command).then(imported);
    given(imported, deleted).when(command).then(imported);
  });

  it('changes nothing when it is known at this path, whatever is found wrong there now', () => {
    for (const known of [created, imported]) {
      given(known).when(command).then();
      given(known)
        .when({ repository: { ...repository, name: 'other' }, name_holder: 'repository-2', failed: { name: 'writable', detail: 'It is read-only.' } })
        .then();
    }
  });

  it('is refused for a copy of a repository that is in use at another path, and says which', () => {
    given(created)
      .when({ ...command, repository: { ...repository, path: '/srv/copy' } })
      .thenRefused('repository_already_used', { repository_id: 'repository-1', path: '/srv/backups' });
  });

  it('is refused under a name that another repository has, and says which', () => {
    given()
      .when({ ...command, name_holder: 'repository-2' })
      .thenRefused('repository_name_taken', { name: 'main', repository_id: 'repository-2' });
    given(created, deleted)
      .when({ ...command, name_holder: 'repository-2' })
      .thenRefused('repository_name_taken', { name: 'main', repository_id: 'repository-2' });
  });

  it.each([
    ['separate', 'repository_overlaps'],
    ['writable', 'repository_not_writable'],
    ['directory', 'repository_path_invalid'],
  ])('is refused for a path that fails the check "%s" with %s', (check, code) => {
    given()
      .when({ ...command, failed: { name: check, detail: 'What was found.' } })
      .thenRefused(code, { path: '/srv/backups', check });
  });
});
