import { boolean, instant, integer, text, type EntityOf, readModel, type RowOf } from '../../src/hub/store/postgres/read-model-definition.js';

export type NbdExportRowState = 'starting' | 'running' | 'stopped' | 'exited' | 'start_failed';

export const NbdExportReadModel = readModel({
  name: 'nbd_exports',
  key: 'export_id',
  columns: {
    export_id: text(),
    job_id: text(),
    export_name: text(),
    port: integer(),
    file: text(),
    read_only: boolean(),
    shared_limit: integer(),
    state: text<NbdExportRowState>(),
    /** The process that serves the export, or that served it last. */
    pid: integer().nullable(),
    process_start_ticks: text().nullable(),
    boot_id: text().nullable(),
    error_code: text().nullable(),
    exit_code: integer().nullable(),
    stderr: text().nullable(),
    requested_at: instant(),
    started_at: instant().nullable(),
    ended_at: instant().nullable(),
  },
  indexes: ['(job_id)', '(state)'],
});
export type NbdExportReadModel = EntityOf<typeof NbdExportReadModel>;
export type NbdExportRow = RowOf<typeof NbdExportReadModel>;
