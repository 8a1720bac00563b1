import { unknownVariant } from '../../src/kernel/decider.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import type { RepositoryEvent, RepositoryType } from '../../src/hub/repositories/repositories/model/repository.events.js';

export type RepositoryRow = {
  readonly repository_id: string;
  readonly name: string;
  readonly type: RepositoryType;
  readonly path: string;
  readonly created_at: string;
};

export const repositoriesProjection: Projection<RepositoryRow> = {
  name: 'repositories',
  categories: ['repository'],
  key: 'repository_id',
  columns: { repository_id: 'text', name: 'text', type: 'text', path: 'text', created_at: 'timestamptz' },
  nullable: {},
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(_row, recorded) {
    const event = asDomainEvent<RepositoryEvent>(recorded);
    switch (event.type) {
      case 'RepositoryCreated':
      case 'RepositoryImported': {
        const { repository_id, name, type, path, created_at } = event.data;
        return { repository_id, name, type, path, created_at };
      }
      case 'RepositoryDeleted':
        return null;
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};
