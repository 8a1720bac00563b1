import type { RpoEnd } from '../../src/hub/backup/policies/model/rpo.events.js';
import { type EntityOf, instant, integer, readModel, type RowOf, text } from '../../src/hub/store/postgres/read-model-definition.js';

export const VmRpoReadModel = readModel({
  name: 'vm_rpo',
  key: 'vm_id',
  columns: {
    vm_id: text(),
    vm_name: text(),
    status: text<'kept' | 'broken' | 'not_promised'>(),
    /** When this status began. */
    since: instant(),
    /** The newest breach, and the promise that it broke. */
    policy_id: text(),
    policy_version: integer(),
    rpo_seconds: integer(),
    broken_at: instant(),
    /** The newest good restore point when the status began; null: there was none. */
    backup_id: text().nullable(),
    instant: instant().nullable(),
    /** Why the breach ended; null: it has not. */
    reason: text<RpoEnd>().nullable(),
    recorded_at: instant(),
  },
  indexes: ['(status)'],
});
export type VmRpoReadModel = EntityOf<typeof VmRpoReadModel>;
export type VmRpoRow = RowOf<typeof VmRpoReadModel>;
