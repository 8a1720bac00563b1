import type { MountDriverName, MountPartition, MountResource, UnmountReason } from '../../src/hub/restore/restore-mounts/model/restore-mount.events.js';
import { instant, integer, json, position, text, type EntityOf, readModel, type RowOf } from '../../src/hub/store/postgres/read-model-definition.js';

export type RestoreMountStatus = 'mounting' | 'mounted' | 'unmounting' | 'failed' | 'released';

export const RestoreMountReadModel = readModel({
  name: 'restore_mounts',
  key: 'mount_id',
  columns: {
    mount_id: text(),
    backup_id: text(),
    vm_id: text(),
    vm_name: text(),
    repository_id: text(),
    disk_index: integer(),
    /** The requested partition; once mounted, the mounted one. */
    partition: integer().nullable(),
    status: text<RestoreMountStatus>(),
    driver: text<MountDriverName>().nullable(),
    device: text().nullable(),
    mount_path: text().nullable(),
    filesystem_type: text().nullable(),
    partitions: json<readonly MountPartition[]>(),
    resources: json<readonly MountResource[]>(),
    error: json<{ readonly code: string; readonly detail: string }>().nullable(),
    unmount_reason: text<UnmountReason>().nullable(),
    abandoned_calls: integer(),
    created_at: instant(),
    ready_at: instant().nullable(),
    accessed_at: instant().nullable(),
    expires_at: instant().nullable(),
    released_at: instant().nullable(),
    created_position: position(),
  },
  indexes: ['(created_position)', '(status, created_position)', '(backup_id)'],
});
export type RestoreMountReadModel = EntityOf<typeof RestoreMountReadModel>;
export type RestoreMountRow = RowOf<typeof RestoreMountReadModel>;
