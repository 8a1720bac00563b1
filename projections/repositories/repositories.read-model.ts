import type { ImmutabilityMode, RepositoryType } from '../../src/hub/repositories/repositories/model/repository.events.js';
import { instant, integer, text, type EntityOf, readModel, type RowOf } from '../../src/hub/store/postgres/read-model-definition.js';

export const RepositoryReadModel = readModel({
  name: 'repositories',
  key: 'repository_id',
  columns: {
    repository_id: text(),
    name: text(),
    type: text<RepositoryType>(),
    path: text(),
    created_at: instant(),
    /** null: never set, which is `none`. */
    immutability_mode: text<ImmutabilityMode>().nullable(),
    immutability_days: integer().nullable(),
  },
  indexes: ['(name)'],
});
export type RepositoryReadModel = EntityOf<typeof RepositoryReadModel>;
export type RepositoryRow = RowOf<typeof RepositoryReadModel>;
