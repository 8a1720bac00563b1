import type { CapacityEvent } from '../../src/hub/repositories/repositories/model/capacity.events.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import { CapacityMeasurementReadModel, type CapacityMeasurementRow } from './capacity-measurements.read-model.js';

/** One row for each recorded measurement. */
export const capacityMeasurementsProjection: Projection<CapacityMeasurementRow> = {
  ...CapacityMeasurementReadModel.definition,
  categories: ['capacity'],
  keys: ({ type, position }) => (type === 'CapacityMeasured' ? [position] : []),
  fold(row, recorded) {
    const event = asDomainEvent<CapacityEvent>(recorded);
    if (event.type !== 'CapacityMeasured') return row ?? null;
    const { repository_id, total_bytes, free_bytes, measured_at } = event.data;
    return { measured_position: recorded.position, repository_id, total_bytes, free_bytes, measured_at };
  },
};
