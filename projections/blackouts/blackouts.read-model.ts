import type { BlackoutSettings } from '../../src/hub/backup/policies/model/blackout.events.js';
import { type EntityOf, instant, integer, json, readModel, type RowOf, text } from '../../src/hub/store/postgres/read-model-definition.js';

export const BlackoutReadModel = readModel({
  name: 'blackouts',
  key: 'blackout_id',
  columns: {
    blackout_id: text(),
    name: text(),
    version: integer(),
    settings: json<BlackoutSettings>(),
    created_at: instant(),
    edited_at: instant(),
  },
  indexes: ['(name)'],
});
export type BlackoutReadModel = EntityOf<typeof BlackoutReadModel>;
export type BlackoutRow = RowOf<typeof BlackoutReadModel>;
