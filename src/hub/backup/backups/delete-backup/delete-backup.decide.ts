import { DomainError } from '../../../../kernel/domain-error.js';
import type { BackupEvent } from '../model/backup.events.js';
import type { BackupState, Retained } from '../model/backup.state.js';

export type DeleteBackupAt = {
  readonly kind: 'delete-backup';
  readonly backup_id: string;
  readonly deleted_at: string;
  /** Restore points and running backups that depend on this restore point, and restores and copies that read from it. */
  readonly used_by: readonly string[];
  /** Mounts of this restore point. */
  readonly mounted_as: readonly string[];
  readonly only_expired: boolean;
  /** Until when it is locked, ISO 8601 in UTC; null: it never was. */
  readonly locked_until: string | null;
  /** Whether its files are immutable now: the keeper has not unlocked them yet. */
  readonly immutable: boolean;
};

/** A failed or cancelled run has left no files and is only marked as deleted. A restore point can be deleted only while nothing depends on it. */
export function decideDeleteBackup(command: DeleteBackupAt, state: BackupState): readonly BackupEvent[] {
  const facts = { backup_id: command.backup_id };
  switch (state.status) {
    case 'none':
      throw new DomainError('not_found', 'backup_not_found', `There is no backup ${command.backup_id}.`, facts);
    case 'pending':
    case 'running':
      throw new DomainError('conflict', 'backup_not_ended', `Backup ${command.backup_id} is ${state.status}; cancel it before deleting it.`, {
        ...facts,
        backup_status: state.status,
      });
    case 'failed':
    case 'cancelled':
      if (!state.undone) {
        throw new DomainError('conflict', 'backup_not_undone', `Backup ${command.backup_id} is still being undone. Try again when this has finished.`, facts);
      }
      return [deleted(command)];
    case 'completed':
      refuseKept(command, state.run.retained);
      refuseLocked(command);
      if (command.used_by.length > 0) {
        throw new DomainError(
          'conflict',
          'restore_point_in_use',
          `Restore point ${command.backup_id} cannot be deleted because it is in use by: ${command.used_by.join(', ')}. Delete later backups first, newest first, and end restores and copies of it.`,
          { ...facts, used_by: command.used_by },
        );
      }
      if (command.mounted_as.length > 0) {
        throw new DomainError(
          'conflict',
          'restore_point_mounted',
          `Restore point ${command.backup_id} cannot be deleted: it is mounted (${command.mounted_as.join(', ')}). Unmount it first.`,
          { ...facts, mount_ids: command.mounted_as },
        );
      }
      return [deleted(command)];
    case 'deleted':
      return [];
  }
}

function refuseLocked({ backup_id, deleted_at, locked_until, immutable }: DeleteBackupAt): void {
  const facts = { backup_id, locked_until, immutable };
  if (locked_until !== null && locked_until > deleted_at) {
    throw new DomainError(
      'conflict',
      'restore_point_locked',
      `Restore point ${backup_id} cannot be deleted because it is locked until ${locked_until}.`,
      facts,
    );
  }
  if (immutable) {
    const since = locked_until === null ? '' : ` Its lock ended at ${locked_until}.`;
    const message =
      `Restore point ${backup_id} cannot be deleted because its files are immutable.${since} ` +
      'The keeper of the repository unlocks them when its own clock has passed the end of the lock.';
    throw new DomainError('conflict', 'restore_point_locked', message, facts);
  }
}

function refuseKept({ backup_id, only_expired, deleted_at }: DeleteBackupAt, { pin, hold, expiry }: Retained): void {
  if (hold !== null) {
    throw new DomainError('conflict', 'restore_point_held', `Restore point ${backup_id} cannot be deleted because it is held: ${hold} Release it first.`, {
      backup_id,
    });
  }
  if (pin !== null) {
    throw new DomainError('conflict', 'restore_point_pinned', `Restore point ${backup_id} cannot be deleted because it is pinned: ${pin} Unpin it first.`, {
      backup_id,
    });
  }
  if (only_expired && (expiry === null || expiry.grace_until > deleted_at)) {
    throw new DomainError('conflict', 'restore_point_not_expired', `Restore point ${backup_id} is kept: its grace period has not ended.`, { backup_id });
  }
}

function deleted(command: DeleteBackupAt): BackupEvent {
  return { type: 'BackupDeleted', data: { deleted_at: command.deleted_at } };
}
