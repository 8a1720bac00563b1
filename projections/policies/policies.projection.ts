import { unknownVariant } from '../../src/kernel/decider.js';
import { anchorAfterEdit, type PolicyEvent } from '../../src/hub/backup/policies/model/policy.events.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import { PolicyReadModel, type PolicyRow } from './policies.read-model.js';

export const policiesProjection: Projection<PolicyRow> = {
  ...PolicyReadModel.definition,
  categories: ['policy'],
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = asDomainEvent<PolicyEvent>(recorded);
    switch (event.type) {
      case 'PolicyCreated': {
        const { policy_id, version, settings, created_at } = event.data;
        const { name, enabled, repository_id } = settings;
        const times = { anchor: created_at, created_at, edited_at: created_at, created_position: recorded.position };
        return { policy_id, name, version, enabled, repository_id, settings, ...times };
      }
      case 'PolicyEdited': {
        if (row === undefined) throw new Error(`policy stream ${recorded.stream} has ${event.type} where there is no policy`);
        const { version, settings, edited_at } = event.data;
        const { name, enabled, repository_id } = settings;
        const anchor = anchorAfterEdit({ schedule: row.settings.schedule, anchor: row.anchor }, settings, edited_at);
        return { ...row, name, version, enabled, repository_id, settings, anchor, edited_at };
      }
      case 'PolicyDeleted':
        return null;
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};
