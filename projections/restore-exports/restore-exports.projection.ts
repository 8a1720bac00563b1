import { unknownVariant } from '../../src/kernel/decider.js';
import { asDomainEvent } from '../../src/hub/store/event-store/command-runner.js';
import type { Projection } from '../../src/hub/store/postgres/projection-definition.js';
import type { RestoreExportEvent } from '../../src/hub/restore/restore-exports/model/restore-export.events.js';

export type RestoreExportRow = {
  readonly export_id: string;
  readonly backup_id: string;
  readonly vm_id: string;
  readonly vm_name: string;
  readonly disk_index: number;
  readonly mode: 'read_only' | 'read_write';
  readonly status: 'starting' | 'running' | 'failed' | 'ended';
  readonly uri: string | null;
  readonly nbd_port: number | null;
  readonly export_name: string;
  readonly error: { readonly code: string; readonly detail: string } | null;
  readonly end_reason: 'deleted' | 'expired' | 'server_exited' | null;
  readonly cleaned_up: boolean;
  readonly requested_at: string;
  readonly expires_at: string;
  readonly ended_at: string | null;
  readonly created_position: string;
};

export const restoreExportsProjection: Projection<RestoreExportRow> = {
  name: 'restore_exports',
  categories: ['restoreExport'],
  key: 'export_id',
  columns: {
    export_id: 'text',
    backup_id: 'text',
    vm_id: 'text',
    vm_name: 'text',
    disk_index: 'integer',
    mode: 'text',
    status: 'text',
    uri: 'text',
    nbd_port: 'integer',
    export_name: 'text',
    error: 'jsonb',
    end_reason: 'text',
    cleaned_up: 'boolean',
    requested_at: 'timestamptz',
    expires_at: 'timestamptz',
    ended_at: 'timestamptz',
    created_position: 'text',
  },
  nullable: { uri: true, nbd_port: true, error: true, end_reason: true, ended_at: true },
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
