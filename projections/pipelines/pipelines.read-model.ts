import type { PipelineStepEnded, PipelineStepName } from '../../src/hub/backup/policies/model/pipeline.events.js';
import { type EntityOf, instant, integer, json, position, readModel, type RowOf, text } from '../../src/hub/store/postgres/read-model-definition.js';

export type PipelineStepRow = {
  readonly step: PipelineStepName;
  readonly status: 'pending' | 'running' | PipelineStepEnded['data']['outcome'];
  readonly verification_id: string | null;
  readonly code: string | null;
  readonly detail: string | null;
};

export const PipelineReadModel = readModel({
  name: 'pipelines',
  key: 'backup_id',
  columns: {
    backup_id: text(),
    vm_id: text(),
    policy_id: text(),
    policy_version: integer(),
    occurrence_id: text(),
    due_at: instant(),
    steps: json<readonly PipelineStepRow[]>(),
    /** Restore points of the VM since the last one that was verified or is to be. */
    unverified: integer(),
    /** The same if this one cannot be verified. */
    unverified_otherwise: integer(),
    /** When the run of the last restore point was due that was booted or is to be; null: none. */
    booted_due_at: instant().nullable(),
    /** The same if this one cannot be booted. */
    booted_due_at_otherwise: instant().nullable(),
    planned_at: instant(),
    finished_at: instant().nullable(),
    created_position: position(),
  },
  indexes: ['(policy_id, vm_id, created_position)', '(occurrence_id)', '(created_position) where finished_at is null'],
});
export type PipelineReadModel = EntityOf<typeof PipelineReadModel>;
export type PipelineRow = RowOf<typeof PipelineReadModel>;
