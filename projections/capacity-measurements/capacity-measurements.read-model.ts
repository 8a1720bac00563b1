import { bigint, type EntityOf, instant, position, readModel, type RowOf, text } from '../../src/hub/store/postgres/read-model-definition.js';

export const CapacityMeasurementReadModel = readModel({
  name: 'capacity_measurements',
  key: 'measured_position',
  columns: {
    /** Position of its event. */
    measured_position: position(),
    repository_id: text(),
    total_bytes: bigint(),
    free_bytes: bigint(),
    measured_at: instant(),
  },
  indexes: ['(repository_id, measured_at)'],
});
export type CapacityMeasurementReadModel = EntityOf<typeof CapacityMeasurementReadModel>;
export type CapacityMeasurementRow = RowOf<typeof CapacityMeasurementReadModel>;
