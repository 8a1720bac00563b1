import type { OccurrenceBackupEnded } from '../../src/hub/backup/policies/model/occurrence.events.js';
import { type EntityOf, instant, integer, readModel, type RowOf, text } from '../../src/hub/store/postgres/read-model-definition.js';

/** Rows of their own: every step of every VM makes a version, and a version of a whole run of 10,000 VMs would be some megabytes. */
export const PolicyRunVmReadModel = readModel({
  name: 'policy_run_vms',
  key: 'run_vm_id',
  columns: {
    /** `<occurrence_id>/<vm_id>`. */
    run_vm_id: text(),
    occurrence_id: text(),
    vm_id: text(),
    vm_name: text(),
    /** In the order of the run, from 0. */
    place: integer(),
    because: text(),
    start_at: instant(),
    attempt: integer(),
    status: text<'planned' | 'requested' | OccurrenceBackupEnded['data']['outcome']>(),
    backup_id: text().nullable(),
    code: text().nullable(),
    detail: text().nullable(),
  },
  indexes: ['(occurrence_id, place)'],
});
export type PolicyRunVmReadModel = EntityOf<typeof PolicyRunVmReadModel>;
export type PolicyRunVmRow = RowOf<typeof PolicyRunVmReadModel>;
