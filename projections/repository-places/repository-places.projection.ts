import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import type { PlaceEvent } from '../../src/hub/repositories/repositories/model/place.events.js';
import { RepositoryPlaceReadModel, type RepositoryPlaceRow } from './repository-places.read-model.js';

export const repositoryPlacesProjection: Projection<RepositoryPlaceRow> = {
  ...RepositoryPlaceReadModel.definition,
  categories: ['place'],
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold: (_row, recorded) => asDomainEvent<PlaceEvent>(recorded).data,
};
