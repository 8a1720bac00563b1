import { DomainError } from '../../../../kernel/domain-error.js';
import type { RestoreExportEnded, RestoreExportEvent, RestoreExportRequested, RestoreExportStarted } from './restore-export.events.js';
import type { RestoreExportState } from './restore-export.state.js';

/** Facts about an export, to be recorded. A fact that arrives after the export has ended changes nothing. */
export type RestoreExportStep =
  | { readonly kind: 'request'; readonly data: RestoreExportRequested['data'] }
  | { readonly kind: 'started'; readonly data: RestoreExportStarted['data'] }
  | { readonly kind: 'extended'; readonly expires_at: string }
  | { readonly kind: 'failed'; readonly code: string; readonly detail: string; readonly failed_at: string }
  | {
      readonly kind: 'end';
      readonly export_id: string;
      readonly reason: RestoreExportEnded['data']['reason'];
      readonly held_by?: string | null;
      readonly ended_at: string;
    }
  | { readonly kind: 'cleaned_up'; readonly cleaned_up_at: string };

export function decideRestoreExport(command: RestoreExportStep, state: RestoreExportState): readonly RestoreExportEvent[] {
  switch (command.kind) {
    case 'request':
      return state.status === 'none' ? [{ type: 'RestoreExportRequested', data: command.data }] : [];
    case 'started':
      return state.status === 'starting' ? [{ type: 'RestoreExportStarted', data: command.data }] : [];
    case 'extended':
      return state.status === 'running' && command.expires_at > state.expires_at
        ? [{ type: 'RestoreExportExtended', data: { expires_at: command.expires_at } }]
        : [];
    case 'failed':
      if (state.status !== 'starting') return [];
      return [{ type: 'RestoreExportFailed', data: { code: command.code, detail: command.detail, failed_at: command.failed_at } }];
    case 'end':
      if (state.status === 'none') {
        throw new DomainError('not_found', 'restore_export_not_found', `Export ${command.export_id} does not exist.`, { export_id: command.export_id });
      }
      if (state.status !== 'starting' && state.status !== 'running') return [];
      if (command.reason === 'deleted' && (state.request.held_by ?? null) !== (command.held_by ?? null)) {
        throw new DomainError(
          'conflict',
          'restore_export_held',
          `Export ${command.export_id} is held by ${state.request.held_by ?? 'a user'} and ends only with its holder.`,
          {
            export_id: command.export_id,
          },
        );
      }
      return [{ type: 'RestoreExportEnded', data: { reason: command.reason, ended_at: command.ended_at } }];
    case 'cleaned_up':
      if ((state.status !== 'failed' && state.status !== 'ended') || state.cleaned_up) return [];
      return [{ type: 'RestoreExportCleanedUp', data: { cleaned_up_at: command.cleaned_up_at } }];
  }
}
