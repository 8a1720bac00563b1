import { describe, it } from '@jest/globals';
import { histories } from '../../../../../test/support/backup-histories.js';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { evolveBackup, initialBackupState } from '../model/backup.state.js';
import { decideCancelBackup } from './cancel-backup.decide.js';

const { given } = specificationOf({ initialState: initialBackupState, evolve: evolveBackup, decide: decideCancelBackup });
const command = { kind: 'cancel-backup', backup_id: 'b1', cancelled_at: 'now' } as const;
const cancelled = { type: 'BackupCancelled', data: { cancelled_at: 'now' } } as const;

describe('cancelling a backup', () => {
  it.each(['requested', 'planned', 'targeted', 'transferring', 'snapshotTaken', 'copied', 'sealed'] as const)('is possible when it is %s', (phase) => {
    given(...histories[phase])
      .when(command)
      .then(cancelled);
  });
  it('changes nothing the second time', () => {
    given(...histories.snapshotTaken, cancelled)
      .when(command)
      .then();
  });
  it('is refused once the backup has ended with another status', () => {
    given(...histories.completed)
      .when(command)
      .thenRefused('backup_already_ended');
  });
  it('is refused for a backup that does not exist', () => {
    given().when(command).thenRefused('backup_not_found');
  });
});
