import type { MissCode, OccurrenceStarted, SkipCode } from '../../src/hub/backup/policies/model/occurrence.events.js';
import { type EntityOf, instant, integer, json, position, readModel, type RowOf, text } from '../../src/hub/store/postgres/read-model-definition.js';

export const PolicyOccurrenceReadModel = readModel({
  name: 'policy_occurrences',
  key: 'occurrence_id',
  columns: {
    occurrence_id: text(),
    policy_id: text(),
    policy_name: text(),
    policy_version: integer(),
    trigger: text<'schedule' | 'manual'>(),
    due_at: instant(),
    wall_time: text(),
    time_zone: text(),
    outcome: text<'started' | 'caught_up' | 'skipped' | 'missed'>(),
    reason: text<SkipCode | MissCode>().nullable(),
    detail: text().nullable(),
    left_out: json<OccurrenceStarted['data']['left_out']>(),
    recorded_at: instant(),
    finished_at: instant().nullable(),
    created_position: position(),
  },
  indexes: [
    '(policy_id, created_position)',
    '(policy_id, outcome, created_position)',
    '(policy_id, trigger, due_at)',
    '(due_at, occurrence_id)',
    `(policy_id) where outcome in ('started', 'caught_up') and finished_at is null`,
  ],
});
export type PolicyOccurrenceReadModel = EntityOf<typeof PolicyOccurrenceReadModel>;
export type PolicyOccurrenceRow = RowOf<typeof PolicyOccurrenceReadModel>;
