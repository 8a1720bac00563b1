import { unknownVariant } from '../../src/kernel/decider.js';
import { type CapacityEvent, DEFAULT_THRESHOLDS } from '../../src/hub/repositories/repositories/model/capacity.events.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import { RepositoryCapacityReadModel, type RepositoryCapacityRow } from './repository-capacity.read-model.js';

export const repositoryCapacityProjection: Projection<RepositoryCapacityRow> = {
  ...RepositoryCapacityReadModel.definition,
  categories: ['capacity'],
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = asDomainEvent<CapacityEvent>(recorded);
    const before = row ?? unmeasured(event.data.repository_id);
    switch (event.type) {
      case 'CapacityMeasured': {
        const { total_bytes, free_bytes, measured_at } = event.data;
        return { ...before, total_bytes, free_bytes, measured_at };
      }
      case 'CapacityLevelChanged':
        return { ...before, level: event.data.to, level_since: event.data.changed_at };
      case 'CapacityThresholdsSet': {
        const { warning_percent, critical_percent } = event.data;
        return { ...before, warning_percent, critical_percent };
      }
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};

function unmeasured(repository_id: string): RepositoryCapacityRow {
  return { repository_id, ...DEFAULT_THRESHOLDS, level: 'ok', level_since: null, total_bytes: null, free_bytes: null, measured_at: null };
}
