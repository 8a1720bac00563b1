import { describe, it } from '@jest/globals';
import { histories } from '../../../../../test/support/backup-histories.js';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { BackupEvent } from '../model/backup.events.js';
import { evolveBackup, initialBackupState } from '../model/backup.state.js';
import { decideDeleteBackup } from './delete-backup.decide.js';

const { given } = specificationOf({ initialState: initialBackupState, evolve: evolveBackup, decide: decideDeleteBackup });
const command = (...used_by: readonly string[]) => ({
  kind: 'delete-backup' as const,
  backup_id: 'b1',
  deleted_at: 'now',
  used_by,
  mounted_as: [] as string[],
  only_expired: false,
  locked_until: null as string | null,
  immutable: false,
});
const failed: BackupEvent = { type: 'BackupFailed', data: { stage: 'transfer', code: 'c', detail: 'd', failed_at: 'then' } };
const deleted: BackupEvent = { type: 'BackupDeleted', data: { deleted_at: 'now' } };

describe('deleting a backup', () => {
  it('deletes a restore point that nothing depends on', () => {
    given(...histories.completed)
      .when(command())
      .then(deleted);
  });
  it('refuses a restore point that others depend on', () => {
    given(...histories.completed)
      .when(command('b2'))
      .thenRefused('restore_point_in_use');
  });
  it('refuses a backup that has not ended', () => {
    given(...histories.requested)
      .when(command())
      .thenRefused('backup_not_ended');
    given(...histories.snapshotTaken)
      .when(command())
      .thenRefused('backup_not_ended');
  });
  it('refuses a failed backup until it is undone', () => {
    given(...histories.snapshotTaken, failed)
      .when(command())
      .thenRefused('backup_not_undone');
    given(...histories.snapshotTaken, failed, { type: 'BackupUndone', data: { undone_at: 'then' } })
      .when(command())
      .then(deleted);
  });
  it('refuses a restore point that is pinned or held, also when it has expired', () => {
    const expired: BackupEvent = {
      type: 'RestorePointExpired',
      data: { policy_id: 'p1', policy_version: 1, reasons: [], expired_at: 'm', grace_until: 'n' },
    };
    const pinned: BackupEvent = { type: 'RestorePointPinned', data: { reason: 'Before the migration.', pinned_at: 'm' } };
    const held: BackupEvent = { type: 'RestorePointHeld', data: { reason: 'Case 17.', held_at: 'm' } };
    for (const only_expired of [true, false]) {
      given(...histories.completed, expired, pinned)
        .when({ ...command(), only_expired })
        .thenRefused('restore_point_pinned');
      given(...histories.completed, pinned, held)
        .when({ ...command(), only_expired })
        .thenRefused('restore_point_held');
    }
    given(...histories.completed, pinned, { type: 'RestorePointUnpinned', data: { reason: 'Done.', unpinned_at: 'm' } })
      .when(command())
      .then(deleted);
  });
  it('refuses a restore point that is locked, or whose files are still immutable', () => {
    const at = { ...command(), deleted_at: '2027-01-02T00:00:00.000Z' };
    const gone: BackupEvent = { type: 'BackupDeleted', data: { deleted_at: at.deleted_at } };
    const locked_until = '2027-01-02T00:00:00.001Z';
    given(...histories.completed)
      .when({ ...at, locked_until })
      .thenRefused('restore_point_locked', { backup_id: 'b1', locked_until, immutable: false });
    given(...histories.completed)
      .when({ ...at, locked_until: at.deleted_at, immutable: true })
      .thenRefused('restore_point_locked', { backup_id: 'b1', locked_until: at.deleted_at, immutable: true });
    given(...histories.completed)
      .when({ ...at, locked_until: at.deleted_at })
      .then(gone);
  });
  it('by a retention deletes only what has expired, after its grace period', () => {
    const expired = (grace_until: string): BackupEvent => ({
      type: 'RestorePointExpired',
      data: { policy_id: 'p1', policy_version: 1, reasons: [], expired_at: 'm', grace_until },
    });
    const removal = { ...command(), only_expired: true };
    given(...histories.completed)
      .when(removal)
      .thenRefused('restore_point_not_expired');
    given(...histories.completed, expired('now+1'))
      .when(removal)
      .thenRefused('restore_point_not_expired');
    given(...histories.completed, expired('now'))
      .when(removal)
      .then(deleted);
    given(...histories.completed, expired('now'), { type: 'RestorePointExpiryWithdrawn', data: { kept_by: ['keep_last'], withdrawn_at: 'm' } })
      .when(removal)
      .thenRefused('restore_point_not_expired');
  });
  it('changes nothing the second time', () => {
    given(...histories.completed, deleted)
      .when(command())
      .then();
  });
  it('refuses a backup that does not exist', () => {
    given().when(command()).thenRefused('backup_not_found');
  });
});
