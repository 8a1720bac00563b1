import { unknownVariant } from '../../src/kernel/decider.js';
import type { NbdExportEvent } from '../../src/hub/exports/nbd-exports/model/nbd-export.events.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';

export type NbdExportRowState = 'starting' | 'running' | 'stopped' | 'exited' | 'start_failed';

export type NbdExportRow = {
  readonly export_id: string;
  readonly job_id: string;
  readonly export_name: string;
  readonly port: number;
  readonly file: string;
  readonly read_only: boolean;
  readonly shared_limit: number;
  readonly state: NbdExportRowState;
  /** The process that serves the export, or that served it last. */
  readonly pid: number | null;
  readonly process_start_ticks: string | null;
  readonly boot_id: string | null;
  readonly error_code: string | null;
  readonly exit_code: number | null;
  readonly stderr: string | null;
  readonly requested_at: string;
  readonly started_at: string | null;
  readonly ended_at: string | null;
};

export const nbdExportsProjection: Projection<NbdExportRow> = {
  name: 'nbd_exports',
  categories: ['nbdExport'],
  key: 'export_id',
  columns: {
    export_id: 'text',
    job_id: 'text',
    export_name: 'text',
    port: 'integer',
    file: 'text',
    read_only: 'boolean',
    shared_limit: 'integer',
    state: 'text',
    pid: 'integer',
    process_start_ticks: 'text',
    boot_id: 'text',
    error_code: 'text',
    exit_code: 'integer',
    stderr: 'text',
    requested_at: 'timestamptz',
    started_at: 'timestamptz',
    ended_at: 'timestamptz',
  },
  nullable: { pid: true, process_start_ticks: true, boot_id: true, error_code: true, exit_code: true, stderr: true, started_at: true, ended_at: true },
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = asDomainEvent<NbdExportEvent>(recorded);
    if (event.type === 'NbdExportRequested') {
      const { export_id, job_id, export_name, port, file, read_only, shared_limit, requested_at } = event.data;
      return {
        export_id,
        job_id,
        export_name,
        port,
        file,
        read_only,
        shared_limit,
        state: 'starting',
        pid: null,
        process_start_ticks: null,
        boot_id: null,
        error_code: null,
        exit_code: null,
        stderr: null,
        requested_at,
        started_at: null,
        ended_at: null,
      };
    }
    if (row === undefined) throw new Error(`export stream ${recorded.stream} has ${event.type} before NbdExportRequested`);
    switch (event.type) {
      case 'NbdExportStarted': {
        const { pid, process_start_ticks, boot_id, started_at } = event.data;
        return { ...row, state: 'running', pid, process_start_ticks, boot_id, started_at };
      }
      case 'NbdExportStartFailed': {
        const { code, exit_code, stderr, failed_at } = event.data;
        return { ...row, state: 'start_failed', error_code: code, exit_code, stderr, ended_at: failed_at };
      }
      case 'NbdExportStopped':
        return { ...row, state: 'stopped', ended_at: event.data.stopped_at };
      case 'NbdExportExited':
        return { ...row, state: 'exited', exit_code: event.data.exit_code, stderr: event.data.stderr, ended_at: event.data.detected_at };
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};
