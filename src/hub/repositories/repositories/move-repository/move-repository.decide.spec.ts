import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { localLocation, type RepositoryEvent } from '../model/repository.events.js';
import { evolveRepository, initialRepositoryState } from '../model/repository.state.js';
import { decideMoveRepository, type MoveRepositoryData } from './move-repository.decide.js';

const { given } = specificationOf({ initialState: initialRepositoryState, evolve: evolveRepository, decide: decideMoveRepository });
const created: RepositoryEvent = {
  type: 'RepositoryCreatedV2',
  data: { repository_id: 'repository-1', name: 'main', location: localLocation('/srv/backups'), created_at: '2026-11-21T10:15:00.000Z' },
};
const deleted: RepositoryEvent = { type: 'RepositoryDeleted', data: { deleted_at: '2026-11-21T11:00:00.000Z' } };
const command: MoveRepositoryData = {
  repository_id: 'repository-1',
  location: localLocation('/mnt/new'),
  checks: [{ name: 'writable', ok: true, detail: 'Fine.' }],
  marker_repository_id: 'repository-1',
  in_use: [],
  moved_at: '2026-11-21T11:00:00.000Z',
};
const moved: RepositoryEvent = { type: 'RepositoryMoved', data: { location: command.location, moved_at: command.moved_at } };

describe('moving a repository', () => {
  it('records the place where its marker is', () => {
    given(created).when(command).then(moved);
  });

  it('does nothing when it is there already', () => {
    given(created, moved).when(command).then();
  });

  it('is refused while files at the present path are in use', () => {
    given(created)
      .when({ ...command, in_use: ['backup 1'] })
      .thenRefused('repository_in_use');
  });

  it('may require a mount point at the same path, also while it is in use', () => {
    const location = { type: 'local', path: '/srv/backups', require_mount: true } as const;
    given(created)
      .when({ ...command, location, in_use: ['backup 1'] })
      .then({ type: 'RepositoryMoved', data: { location, moved_at: command.moved_at } });
  });

  it('to another share is refused while it is in use, although the mount point stays', () => {
    const share = { type: 'nfs', path: '/mounts/1', server: 'nas', export: '/a', options: [] } as const;
    const onShare: RepositoryEvent = { ...created, data: { ...created.data, location: share } };
    const location = { ...share, export: '/b' };
    given(onShare)
      .when({ ...command, location, in_use: ['backup 1'] })
      .thenRefused('repository_in_use');
    given(onShare)
      .when({ ...command, location })
      .then({ type: 'RepositoryMoved', data: { location, moved_at: command.moved_at } });
  });

  it('is refused for a path without its marker, and for one that fails a check', () => {
    given(created)
      .when({ ...command, marker_repository_id: null })
      .thenRefused('repository_marker_missing');
    given(created)
      .when({ ...command, marker_repository_id: 'repository-2', checks: [{ name: 'unused', ok: false, detail: 'Of another.' }] })
      .thenRefused('repository_already_used');
  });

  it('is refused for an unknown and for a deleted repository', () => {
    given().when(command).thenRefused('repository_not_found');
    given(created, deleted).when(command).thenRefused('repository_not_found');
  });
});
