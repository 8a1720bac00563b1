import { DomainError } from '../../src/kernel/domain-error.js';
import type { BackupReadModel } from './backups.read-model.js';

/**
 * Refuses a restore point that is damaged or depends on a damaged one, unless the caller allows it: the restored data may differ from what was backed up.
 * @throws DomainError restore_point_damaged
 */
export function refuseDamaged({ backup_id, damage }: Pick<BackupReadModel, 'backup_id' | 'damage'>, allowed: boolean): void {
  if (damage === null || allowed) return;
  const damaged = damage.caused_by_backup_id ?? backup_id;
  const where = damaged === backup_id ? 'it is damaged' : `it depends on restore point ${damaged}, which is damaged`;
  throw new DomainError(
    'conflict',
    'restore_point_damaged',
    `Restore point ${backup_id} cannot be trusted: ${where} (${damage.detail}). Choose an older restore point, or set allow_damaged to use this one as it is.`,
    { backup_id, damaged_backup_id: damaged, damage: damage.code, file: damage.file },
  );
}
