import { type BackupEvent, type BackupOptions, type BackupRequested, DEFAULT_BACKUP_OPTIONS } from '../model/backup.events.js';
import type { BackupState } from '../model/backup.state.js';

export type RequestBackup = { readonly kind: 'request-backup'; readonly request: BackupRequested['data']; readonly options: BackupOptions };

/** Repeating a command requests the same backup, so a backup that has already been requested does not change. */
export function decideRequestBackup(command: RequestBackup, state: BackupState): readonly BackupEvent[] {
  if (state.status !== 'none') return [];
  const { quiesce, bandwidth_limit_bps } = command.options;
  const usual = quiesce === DEFAULT_BACKUP_OPTIONS.quiesce && bandwidth_limit_bps === DEFAULT_BACKUP_OPTIONS.bandwidth_limit_bps;
  return [{ type: 'BackupRequested', data: command.request }, ...(usual ? [] : [{ type: 'BackupOptionsChosen' as const, data: command.options }])];
}
