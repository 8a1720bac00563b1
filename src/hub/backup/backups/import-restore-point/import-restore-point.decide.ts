import { DomainError } from '../../../../kernel/domain-error.js';
import type { BackupEvent, RestorePointImported } from '../model/backup.events.js';
import type { BackupState } from '../model/backup.state.js';

/** Imports a restore point that is unknown to this hub. If the hub already knows it in the same place, nothing changes. */
export function decideImportRestorePoint(command: RestorePointImported['data'], state: BackupState): readonly BackupEvent[] {
  if (state.status === 'none') return [{ type: 'RestorePointImported', data: command }];
  const known = state.run.sealed?.folder === command.folder && state.run.request.repository_id === command.repository_id;
  if (state.status === 'completed' && known) return [];
  throw new DomainError('conflict', 'backup_already_known', `Backup ${command.backup_id} is already known to this hub: it is ${state.status}.`, {
    backup_id: command.backup_id,
    status: state.status,
  });
}
