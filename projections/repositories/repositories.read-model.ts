import type {
  ImmutabilityMode,
  RepositoryCapabilities,
  RepositoryLocation,
  RepositoryType,
} from '../../src/hub/repositories/repositories/model/repository.events.js';
import { instant, integer, json, text, type EntityOf, readModel, type RowOf } from '../../src/hub/store/postgres/read-model-definition.js';

export const RepositoryReadModel = readModel({
  name: 'repositories',
  key: 'repository_id',
  columns: {
    repository_id: text(),
    name: text(),
    type: text<RepositoryType>(),
    path: text(),
    /** null: a folder, in a row that the release before wrote, until this read model has been rebuilt. */
    location: json<RepositoryLocation>().nullable(),
    /** null: not measured. */
    capabilities: json<RepositoryCapabilities>().nullable(),
    capabilities_measured_at: instant().nullable(),
    created_at: instant(),
    /** null: never set, which is `none`. */
    immutability_mode: text<ImmutabilityMode>().nullable(),
    immutability_days: integer().nullable(),
  },
  indexes: ['(name)'],
});
export type RepositoryReadModel = EntityOf<typeof RepositoryReadModel>;
export type RepositoryRow = RowOf<typeof RepositoryReadModel>;
