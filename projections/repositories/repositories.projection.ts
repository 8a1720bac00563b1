import { unknownVariant } from '../../src/kernel/decider.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import {
  localLocation,
  type RepositoryFacts,
  type StoredRepositoryEvent,
  upcastRepositoryEvent,
} from '../../src/hub/repositories/repositories/model/repository.events.js';
import { RepositoryReadModel, type RepositoryRow } from './repositories.read-model.js';

export const repositoriesProjection: Projection<RepositoryRow> = {
  ...RepositoryReadModel.definition,
  categories: ['repository'],
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = upcastRepositoryEvent(asDomainEvent<StoredRepositoryEvent>(recorded));
    switch (event.type) {
      case 'RepositoryCreatedV2':
        return rowOf(event.data);
      case 'RepositoryImported': {
        const { repository_id, name, path, created_at } = event.data;
        return rowOf({ repository_id, name, location: localLocation(path), created_at }, row);
      }
      case 'RepositoryImmutabilitySet': {
        if (row === undefined) throw new Error(`repository stream ${recorded.stream} has ${event.type} before the repository`);
        return { ...row, immutability_mode: event.data.mode, immutability_days: event.data.days };
      }
      case 'RepositoryMoved': {
        const { location } = event.data;
        return row === undefined ? null : { ...row, type: location.type, path: location.path, location, capabilities: null, capabilities_measured_at: null };
      }
      case 'RepositoryCapabilitiesMeasured':
        return row === undefined ? null : { ...row, capabilities: event.data.capabilities, capabilities_measured_at: event.data.measured_at };
      case 'RepositoryDeleted':
        return null;
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};

/** @param known of the same repository, which a repeated import leaves as it is */
function rowOf({ repository_id, name, location, created_at }: RepositoryFacts, known?: RepositoryRow): RepositoryRow {
  const { type, path } = location;
  const { immutability_mode = null, immutability_days = null } = known ?? {};
  return { repository_id, name, type, path, location, capabilities: null, capabilities_measured_at: null, created_at, immutability_mode, immutability_days };
}
