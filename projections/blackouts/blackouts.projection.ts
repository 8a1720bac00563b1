import { unknownVariant } from '../../src/kernel/decider.js';
import type { BlackoutEvent } from '../../src/hub/backup/policies/model/blackout.events.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import { BlackoutReadModel, type BlackoutRow } from './blackouts.read-model.js';

export const blackoutsProjection: Projection<BlackoutRow> = {
  ...BlackoutReadModel.definition,
  categories: ['blackout'],
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = asDomainEvent<BlackoutEvent>(recorded);
    switch (event.type) {
      case 'BlackoutCreated': {
        const { blackout_id, version, settings, created_at } = event.data;
        return { blackout_id, name: settings.name, version, settings, created_at, edited_at: created_at };
      }
      case 'BlackoutEdited': {
        if (row === undefined) throw new Error(`blackout stream ${recorded.stream} has ${event.type} where there is no blackout`);
        const { version, settings, edited_at } = event.data;
        return { ...row, name: settings.name, version, settings, edited_at };
      }
      case 'BlackoutDeleted':
        return null;
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};
