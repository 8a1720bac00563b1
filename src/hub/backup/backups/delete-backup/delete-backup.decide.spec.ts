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
  it('changes nothing the second time', () => {
    given(...histories.completed, deleted)
      .when(command())
      .then();
  });
  it('refuses a backup that does not exist', () => {
    given().when(command()).thenRefused('backup_not_found');
  });
});
