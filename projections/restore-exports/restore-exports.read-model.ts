import { boolean, instant, integer, json, position, text, type EntityOf, readModel, type RowOf } from '../../src/hub/store/postgres/read-model-definition.js';

export const RestoreExportReadModel = readModel({
  name: 'restore_exports',
  key: 'export_id',
  columns: {
    export_id: text(),
    backup_id: text(),
    vm_id: text(),
    vm_name: text(),
    disk_index: integer(),
    mode: text<'read_only' | 'read_write'>(),
    status: text<'starting' | 'running' | 'failed' | 'ended'>(),
    uri: text().nullable(),
    nbd_port: integer().nullable(),
    export_name: text(),
    error: json<{ readonly code: string; readonly detail: string }>().nullable(),
    end_reason: text<'deleted' | 'expired' | 'server_exited'>().nullable(),
    cleaned_up: boolean(),
    requested_at: instant(),
    expires_at: instant(),
    ended_at: instant().nullable(),
    created_position: position(),
  },
  indexes: ['(created_position)', '(backup_id)', '(cleaned_up)'],
});
export type RestoreExportReadModel = EntityOf<typeof RestoreExportReadModel>;
export type RestoreExportRow = RowOf<typeof RestoreExportReadModel>;
