import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { localLocation, type RepositoryFacts } from '../model/repository.events.js';
import { evolveRepository, initialRepositoryState } from '../model/repository.state.js';
import type { PathCheck } from '../model/repository-path.plan.js';
import { type CreateRepositoryData, decideCreateRepository } from './create-repository.decide.js';

const { given } = specificationOf({ initialState: initialRepositoryState, evolve: evolveRepository, decide: decideCreateRepository });
const repository: RepositoryFacts = {
  repository_id: 'repository-1',
  name: 'main',
  location: localLocation('/srv/backups'),
  created_at: '2026-11-21T10:15:00.000Z',
};
const failing = (name: PathCheck['name']): CreateRepositoryData => ({
  repository,
  capabilities: null,
  name_holder: null,
  checks: [
    { name: 'absolute_path', ok: name !== 'absolute_path', detail: 'The path.' },
    { name, ok: false, detail: 'What was found.' },
  ],
  marker_repository_id: name === 'unused' ? 'repository-2' : null,
});
const command: CreateRepositoryData = {
  repository,
  capabilities: null,
  name_holder: null,
  checks: [{ name: 'writable', ok: true, detail: 'Fine.' }],
  marker_repository_id: null,
};

describe('creating a repository', () => {
  it('records it when every check of its path succeeded', () => {
    given().when(command).then({ type: 'RepositoryCreatedV2', data: repository });
  });

  it('does nothing when the same command is repeated', () => {
    given({ type: 'RepositoryCreatedV2', data: repository }).when(failing('writable')).then();
  });

  it('refuses the name of another repository', () => {
    given()
      .when({ ...command, name_holder: 'repository-2' })
      .thenRefused('repository_name_taken');
  });

  it('refuses a path of which a check failed', () => {
    given().when(failing('mounted')).thenRefused('repository_not_mounted');
  });
});
