import { unknownVariant } from '../../src/kernel/decider.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import type { RepositoryEvent } from '../../src/hub/repositories/repositories/model/repository.events.js';
import { RepositoryReadModel, type RepositoryRow } from './repositories.read-model.js';

export const repositoriesProjection: Projection<RepositoryRow> = {
  ...RepositoryReadModel.definition,
  categories: ['repository'],
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
