import { unknownVariant } from '../../src/kernel/decider.js';
import type { NbdExportEvent } from '../../src/hub/exports/nbd-exports/model/nbd-export.events.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import { NbdExportReadModel, type NbdExportRow } from './nbd-exports.read-model.js';

export const nbdExportsProjection: Projection<NbdExportRow> = {
  ...NbdExportReadModel.definition,
  categories: ['nbdExport'],
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
