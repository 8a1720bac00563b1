import { DomainError } from '../../src/kernel/domain-error.js';
import type { BackupReadModel } from './backups.read-model.js';

/**
 * What is damaged, or stands on what is, is not read for a restore unless that is asked for: what comes of it may not be what was backed up.
 * @throws DomainError restore_point_damaged
 */
export function refuseDamaged({ backup_id, damage }: Pick<BackupReadModel, 'backup_id' | 'damage'>, allowed: boolean): void {
  if (damage === null || allowed) return;
  const damaged = damage.caused_by_backup_id ?? backup_id;
  const where = damaged === backup_id ? 'it is damaged' : `it stands on ${damaged}, which is damaged`;
  throw new DomainError(
    'conflict',
    'restore_point_damaged',
    `Restore point ${backup_id} cannot be trusted: ${where} (${damage.detail}). Choose an older restore point, or ask for this one as it is with allow_damaged.`,
    { backup_id, damaged_backup_id: damaged, damage: damage.code, file: damage.file },
  );
}
