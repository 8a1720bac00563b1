import { unknownVariant } from '../../../../kernel/decider.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import type {
  NbdExportEvent,
  NbdExportExited,
  NbdExportRequested,
  NbdExportStarted,
  NbdExportStartFailed,
  NbdExportStopped,
} from '../model/nbd-export.events.js';
import { mayRun, type NbdExportState } from '../model/nbd-export.state.js';

/** A fact about an export, to be recorded. A fact that arrives after the export has ended changes nothing. */
export type RecordExport =
  | { readonly kind: 'requested'; readonly data: NbdExportRequested['data'] }
  | { readonly kind: 'started'; readonly data: NbdExportStarted['data'] }
  | { readonly kind: 'start_failed'; readonly data: NbdExportStartFailed['data'] }
  | { readonly kind: 'stopped'; readonly data: NbdExportStopped['data'] }
  | { readonly kind: 'exited'; readonly data: NbdExportExited['data'] };

/** The NBD protocol allows more, but the REST contract promises less. In bytes. */
const MAX_EXPORT_NAME_BYTES = 64;

/** @throws DomainError `nbd_export_invalid`; `nbd_export_differs` when the same id was requested with other parameters */
export function decideRecordExport(command: RecordExport, state: NbdExportState): readonly NbdExportEvent[] {
  switch (command.kind) {
    case 'requested':
      return decideRequested(command.data, state);
    case 'started':
      return state.status === 'requested' ? [{ type: 'NbdExportStarted', data: command.data }] : [];
    case 'start_failed':
      return state.status === 'requested' ? [{ type: 'NbdExportStartFailed', data: command.data }] : [];
    case 'stopped':
      return mayRun(state) ? [{ type: 'NbdExportStopped', data: command.data }] : [];
    case 'exited':
      return state.status === 'started' ? [{ type: 'NbdExportExited', data: command.data }] : [];
    default:
      return unknownVariant('record export', command);
  }
}

function decideRequested(data: NbdExportRequested['data'], state: NbdExportState): readonly NbdExportEvent[] {
  if (state.status === 'none') {
    // The id becomes a directory name.
    if (!/^[A-Za-z0-9-]{1,64}$/.test(data.export_id)) throw invalid(data, 'its id must be 1 to 64 letters, digits and dashes');
    if (!data.file.startsWith('/') || data.file.includes('\0')) throw invalid(data, `its file "${data.file}" must be an absolute path`);
    if (data.export_name === '' || new TextEncoder().encode(data.export_name).length > MAX_EXPORT_NAME_BYTES) {
      throw invalid(data, `its name "${data.export_name}" must be 1 to ${MAX_EXPORT_NAME_BYTES} bytes long`);
    }
    if (!Number.isInteger(data.shared_limit) || data.shared_limit < 0)
      throw invalid(data, 'its client limit must be a non-negative whole number (0: unlimited)');
    return [{ type: 'NbdExportRequested', data }];
  }
  const before = state.request;
  const same = before.port === data.port && before.file === data.file && before.export_name === data.export_name && before.read_only === data.read_only;
  // An export that an older hub requested without a transport stays as it is.
  const sameTransport = before.transport === undefined || before.transport === data.transport;
  if (same && sameTransport) return [];
  throw new DomainError('conflict', 'nbd_export_differs', `Export ${data.export_id} was already requested for ${before.file} on port ${before.port}.`, {
    export_id: data.export_id,
    file: before.file,
    port: before.port,
  });
}

function invalid(data: NbdExportRequested['data'], what: string): DomainError {
  return new DomainError('invalid', 'nbd_export_invalid', `Export ${data.export_id} is invalid: ${what}.`, { export_id: data.export_id });
}
