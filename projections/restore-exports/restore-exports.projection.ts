import { unknownVariant } from '../../src/kernel/decider.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import type { RestoreExportEvent } from '../../src/hub/restore/restore-exports/model/restore-export.events.js';
import { RestoreExportReadModel, type RestoreExportRow } from './restore-exports.read-model.js';

export const restoreExportsProjection: Projection<RestoreExportRow> = {
  ...RestoreExportReadModel.definition,
  categories: ['restoreExport'],
  keys: ({ stream }) => [stream.slice(stream.indexOf('-') + 1)],
  fold(row, recorded) {
    const event = asDomainEvent<RestoreExportEvent>(recorded);
    if (event.type === 'RestoreExportRequested') {
      const { export_id, backup_id, vm_id, vm_name, disk_index, mode, export_name, requested_at, expires_at } = event.data;
      return {
        export_id,
        backup_id,
        vm_id,
        vm_name,
        disk_index,
        mode,
        status: 'starting',
        uri: null,
        nbd_port: null,
        export_name,
        error: null,
        end_reason: null,
        cleaned_up: false,
        requested_at,
        expires_at,
        ended_at: null,
        created_position: recorded.position,
      };
    }
    if (row === undefined) throw new Error(`restore export stream ${recorded.stream} has ${event.type} before RestoreExportRequested`);
    switch (event.type) {
      case 'RestoreExportStarted':
        return { ...row, status: 'running', uri: event.data.uri, nbd_port: event.data.nbd_port };
      case 'RestoreExportExtended':
        return { ...row, expires_at: event.data.expires_at };
      case 'RestoreExportFailed':
        return { ...row, status: 'failed', error: { code: event.data.code, detail: event.data.detail }, ended_at: event.data.failed_at };
      case 'RestoreExportEnded':
        return { ...row, status: 'ended', end_reason: event.data.reason, ended_at: event.data.ended_at };
      case 'RestoreExportCleanedUp':
        return { ...row, cleaned_up: true };
      default:
        return unknownVariant(`stream ${recorded.stream}`, event);
    }
  },
};
