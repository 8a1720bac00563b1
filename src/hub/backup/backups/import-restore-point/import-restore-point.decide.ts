import { DomainError } from '../../../../kernel/domain-error.js';
import type { BackupEvent, RestorePointImported } from '../model/backup.events.js';
import type { BackupState } from '../model/backup.state.js';

/** A restore point that this hub has never heard of is taken over as it is; one that it knows in the same place stays as it is. */
export function decideImportRestorePoint(command: RestorePointImported['data'], state: BackupState): readonly BackupEvent[] {
  if (state.status === 'none') return [{ type: 'RestorePointImported', data: command }];
  const known = state.run.sealed?.folder === command.folder && state.run.request.repository_id === command.repository_id;
  if (state.status === 'completed' && known) return [];
  throw new DomainError('conflict', 'backup_already_known', `Backup ${command.backup_id} is known to this hub already: it is ${state.status}.`, {
    backup_id: command.backup_id,
    status: state.status,
  });
}
