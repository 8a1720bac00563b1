import { DomainError } from '../../../../kernel/domain-error.js';
import type { BackupEvent } from '../model/backup.events.js';
import type { BackupState } from '../model/backup.state.js';

export type CancelBackupAt = { readonly kind: 'cancel-backup'; readonly backup_id: string; readonly cancelled_at: string };

/** Pending and running backups can be cancelled. Cancelling again changes nothing. A backup that has ended with another status is refused. */
export function decideCancelBackup(command: CancelBackupAt, state: BackupState): readonly BackupEvent[] {
  switch (state.status) {
    case 'none':
      throw new DomainError('not_found', 'backup_not_found', `There is no backup ${command.backup_id}.`, { backup_id: command.backup_id });
    case 'pending':
    case 'running':
      return [{ type: 'BackupCancelled', data: { cancelled_at: command.cancelled_at } }];
    case 'cancelled':
      return [];
    case 'completed':
    case 'failed':
    case 'deleted':
      throw new DomainError('conflict', 'backup_already_ended', `Backup ${command.backup_id} can no longer be cancelled: it is ${state.status}.`, {
        backup_id: command.backup_id,
        backup_status: state.status,
      });
  }
}
