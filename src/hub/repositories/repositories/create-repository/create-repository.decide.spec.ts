import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { RepositoryCreated } from '../model/repository.events.js';
import { evolveRepository, initialRepositoryState } from '../model/repository.state.js';
import { type CreateRepositoryData, decideCreateRepository, type PathCheck } from './create-repository.decide.js';

const { given } = specificationOf({ initialState: initialRepositoryState, evolve: evolveRepository, decide: decideCreateRepository });
const repository: RepositoryCreated['data'] = {
  repository_id: 'repository-1',
  name: 'main',
  type: 'local',
  path: '/srv/backups',
  created_at: '2026-11-21T10:15:00.000Z',
};
const failing = (name: PathCheck['name']): CreateRepositoryData => ({
  repository,
  name_holder: null,
  checks: [
    { name: 'absolute_path', ok: name !== 'absolute_path', detail: 'The path.' },
    { name, ok: false, detail: 'What was found.' },
  ],
  marker_repository_id: name === 'unused' ? 'repository-2' : null,
});
const command: CreateRepositoryData = { repository, name_holder: null, checks: [{ name: 'writable', ok: true, detail: 'Fine.' }], marker_repository_id: null };

describe('creating a repository', () => {
  it('records it when every check of its path succeeded', () => {
    given().when(command).then({ type: 'RepositoryCreated', data: repository });
  });

  it('does nothing when the same command is repeated', () => {
    given({ type: 'RepositoryCreated', data: repository }).when(failing('writable')).then();
  });

  it('refuses the name of another repository', () => {
    given()
      .when({ ...command, name_holder: 'repository-2' })
      .thenRefused('repository_name_taken');
  });

  it.each([
    ['absolute_path', 'repository_path_invalid'],
    ['exists', 'repository_path_missing'],
    ['directory', 'repository_path_not_a_directory'],
    ['separate', 'repository_overlaps'],
    ['unused', 'repository_already_used'],
    ['writable', 'repository_not_writable'],
  ] as const)('refuses a path that fails the check "%s" with %s', (name, code) => {
    given().when(failing(name)).thenRefused(code);
  });
});
