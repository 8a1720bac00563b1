import { unknownVariant } from '../../src/kernel/decider.js';
import type { RpoEvent } from '../../src/hub/backup/policies/model/rpo.events.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import { VmRpoReadModel, type VmRpoRow } from './vm-rpo.read-model.js';

export const vmRpoProjection: Projection<VmRpoRow> = {
  ...VmRpoReadModel.definition,
  categories: ['rpo'],
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = asDomainEvent<RpoEvent>(recorded);
    switch (event.type) {
      case 'RpoBroken':
        return { ...event.data, status: 'broken', since: event.data.broken_at, reason: null };
      case 'RpoRestored': {
        if (row === undefined) throw new Error(`rpo stream ${recorded.stream} has ${event.type} before RpoBroken`);
        const { reason, backup_id, instant, restored_at, recorded_at } = event.data;
        if (reason === 'vm_removed') return null;
        return { ...row, status: reason === 'not_promised' ? 'not_promised' : 'kept', since: restored_at, backup_id, instant, reason, recorded_at };
      }
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};
