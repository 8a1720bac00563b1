import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { RestoreExportEvent, RestoreExportRequested } from './restore-export.events.js';

export type RestoreExportState =
  | { readonly status: 'none' }
  | {
      readonly status: 'starting' | 'running' | 'failed' | 'ended';
      readonly request: RestoreExportRequested['data'];
      readonly expires_at: string;
      readonly nbd_port: number | null;
      readonly cleaned_up: boolean;
    };

export type KnownRestoreExport = Exclude<RestoreExportState, { status: 'none' }>;

export const initialRestoreExportState: RestoreExportState = { status: 'none' };

export function evolveRestoreExport(state: RestoreExportState, event: RestoreExportEvent): RestoreExportState {
  if (event.type === 'RestoreExportRequested') {
    return { status: 'starting', request: event.data, expires_at: event.data.expires_at, nbd_port: null, cleaned_up: false };
  }
  if (state.status === 'none') throw new Error(`restore export stream begins with ${event.type} instead of RestoreExportRequested`);
  switch (event.type) {
    case 'RestoreExportStarted':
      return { ...state, status: 'running', nbd_port: event.data.nbd_port };
    case 'RestoreExportExtended':
      return { ...state, expires_at: event.data.expires_at };
    case 'RestoreExportFailed':
      return { ...state, status: 'failed' };
    case 'RestoreExportEnded':
      return { ...state, status: 'ended' };
    case 'RestoreExportCleanedUp':
      return { ...state, cleaned_up: true };
    default:
      return unknownVariant('restore export stream', event);
  }
}

export const restoreExportDecider = decidersOf<RestoreExportState, RestoreExportEvent>(initialRestoreExportState, evolveRestoreExport);
