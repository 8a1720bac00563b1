import { unknownVariant } from '../../src/kernel/decider.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import type { RepositoryEvent } from '../../src/hub/repositories/repositories/model/repository.events.js';
import { RepositoryReadModel, type RepositoryRow } from './repositories.read-model.js';

export const repositoriesProjection: Projection<RepositoryRow> = {
  ...RepositoryReadModel.definition,
  categories: ['repository'],
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = asDomainEvent<RepositoryEvent>(recorded);
    switch (event.type) {
      case 'RepositoryCreated':
      case 'RepositoryImported': {
        const { repository_id, name, type, path, created_at } = event.data;
        const { immutability_mode = null, immutability_days = null } = row ?? {};
        return { repository_id, name, type, path, created_at, immutability_mode, immutability_days };
      }
      case 'RepositoryImmutabilitySet': {
        if (row === undefined) throw new Error(`repository stream ${recorded.stream} has ${event.type} before the repository`);
        return { ...row, immutability_mode: event.data.mode, immutability_days: event.data.days };
      }
      case 'RepositoryDeleted':
        return null;
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};
