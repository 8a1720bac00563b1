import type { Medium } from '../../src/hub/repositories/repositories/model/place.events.js';
import { boolean, instant, text, type EntityOf, readModel, type RowOf } from '../../src/hub/store/postgres/read-model-definition.js';

export const RepositoryPlaceReadModel = readModel({
  name: 'repository_places',
  key: 'repository_id',
  columns: {
    repository_id: text(),
    site: text(),
    off_site: boolean(),
    medium: text<Medium>(),
    set_at: instant(),
  },
  indexes: [],
});
export type RepositoryPlaceReadModel = EntityOf<typeof RepositoryPlaceReadModel>;
export type RepositoryPlaceRow = RowOf<typeof RepositoryPlaceReadModel>;
