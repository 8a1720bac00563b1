import type { VmDisk, VmSource } from '../../src/hub/backup/vms/model/vm.events.js';
import { bigint, instant, json, text, texts, type EntityOf, readModel, type RowOf } from '../../src/hub/store/postgres/read-model-definition.js';

export const VmReadModel = readModel({
  name: 'vms',
  key: 'vm_id',
  columns: {
    vm_id: text(),
    name: text(),
    node_id: text(),
    source: text<VmSource>(),
    source_ref: text(),
    disks: json<readonly VmDisk[]>(),
    total_size_bytes: bigint(),
    registered_at: instant(),
    disks_observed_at: instant(),
    /** Why the VM cannot be backed up; null: its node knows of no problem. */
    problem: json<{ readonly code: string; readonly detail: string; readonly found_at: string }>().nullable(),
    labels: texts(),
    /** null: never. */
    labels_set_at: instant().nullable(),
  },
  indexes: ['(name)'],
});
export type VmReadModel = EntityOf<typeof VmReadModel>;
export type VmRow = RowOf<typeof VmReadModel>;
