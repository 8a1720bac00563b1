import type { CapacityLevel } from '../../src/hub/repositories/repositories/model/capacity.events.js';
import { bigint, type EntityOf, instant, integer, readModel, type RowOf, text } from '../../src/hub/store/postgres/read-model-definition.js';

export const RepositoryCapacityReadModel = readModel({
  name: 'repository_capacity',
  key: 'repository_id',
  columns: {
    repository_id: text(),
    warning_percent: integer(),
    critical_percent: integer(),
    level: text<CapacityLevel>(),
    /** When this level began; null: it was always `ok`. */
    level_since: instant().nullable(),
    /** As recorded last; null: never measured. */
    total_bytes: bigint().nullable(),
    free_bytes: bigint().nullable(),
    measured_at: instant().nullable(),
  },
  indexes: ['(level)'],
});
export type RepositoryCapacityReadModel = EntityOf<typeof RepositoryCapacityReadModel>;
export type RepositoryCapacityRow = RowOf<typeof RepositoryCapacityReadModel>;
