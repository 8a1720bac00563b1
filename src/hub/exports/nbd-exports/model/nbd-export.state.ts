import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { NbdExportEvent, NbdExportExited, NbdExportRequested, NbdExportStarted, NbdExportStartFailed, NbdExportStopped } from './nbd-export.events.js';

type Requested = NbdExportRequested['data'];

export type NbdExportState =
  | { readonly status: 'none' }
  /** A process may exist. */
  | { readonly status: 'requested'; readonly request: Requested }
  | { readonly status: 'started'; readonly request: Requested; readonly process: NbdExportStarted['data'] }
  | { readonly status: 'start_failed'; readonly request: Requested; readonly failure: NbdExportStartFailed['data'] }
  /** process is null when it was stopped before it had started. */
  | { readonly status: 'stopped'; readonly request: Requested; readonly process: NbdExportStarted['data'] | null; readonly end: NbdExportStopped['data'] }
  | { readonly status: 'exited'; readonly request: Requested; readonly process: NbdExportStarted['data']; readonly end: NbdExportExited['data'] };

export const initialNbdExportState: NbdExportState = { status: 'none' };

export function evolveNbdExport(state: NbdExportState, event: NbdExportEvent): NbdExportState {
  if (event.type === 'NbdExportRequested') return { status: 'requested', request: event.data };
  if (state.status === 'none') throw new Error(`export stream begins with ${event.type} instead of NbdExportRequested`);
  const { request } = state;
  switch (event.type) {
    case 'NbdExportStarted':
      return { status: 'started', request, process: event.data };
    case 'NbdExportStartFailed':
      return { status: 'start_failed', request, failure: event.data };
    case 'NbdExportStopped':
      return { status: 'stopped', request, process: state.status === 'started' ? state.process : null, end: event.data };
    case 'NbdExportExited':
      if (state.status !== 'started') throw new Error(`export ${request.export_id} exited without having started`);
      return { status: 'exited', request, process: state.process, end: event.data };
    default:
      return unknownVariant('export stream', event);
  }
}

/** True while a process may exist. */
export function mayRun(state: NbdExportState): state is Extract<NbdExportState, { status: 'requested' | 'started' }> {
  return state.status === 'requested' || state.status === 'started';
}

export const nbdExportDecider = decidersOf<NbdExportState, NbdExportEvent>(initialNbdExportState, evolveNbdExport);
