import type { PolicySettings } from '../../src/hub/backup/policies/model/policy.events.js';
import { boolean, type EntityOf, instant, integer, json, position, readModel, type RowOf, text } from '../../src/hub/store/postgres/read-model-definition.js';

export const PolicyReadModel = readModel({
  name: 'policies',
  key: 'policy_id',
  columns: {
    policy_id: text(),
    name: text(),
    version: integer(),
    enabled: boolean(),
    repository_id: text(),
    settings: json<PolicySettings>(),
    /** From where `every N` counts: when this schedule was set. */
    anchor: instant(),
    created_at: instant(),
    edited_at: instant(),
    /** Of two policies that select the same VM, the one created first backs it up. */
    created_position: position(),
  },
  indexes: ['(name)'],
});
export type PolicyReadModel = EntityOf<typeof PolicyReadModel>;
export type PolicyRow = RowOf<typeof PolicyReadModel>;
