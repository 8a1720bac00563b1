import type { BackupEvent, BackupRequested } from '../model/backup.events.js';
import type { BackupState } from '../model/backup.state.js';

export type RequestBackup = { readonly kind: 'request-backup'; readonly request: BackupRequested['data'] };

/** A backup that was requested before stays as it is: the same command again asks for the same backup. */
export function decideRequestBackup(command: RequestBackup, state: BackupState): readonly BackupEvent[] {
  return state.status === 'none' ? [{ type: 'BackupRequested', data: command.request }] : [];
}
