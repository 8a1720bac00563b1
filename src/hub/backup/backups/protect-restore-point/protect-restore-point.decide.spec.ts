import { describe, it } from '@jest/globals';
import { histories } from '../../../../../test/support/backup-histories.js';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { BackupEvent } from '../model/backup.events.js';
import { evolveBackup, initialBackupState } from '../model/backup.state.js';
import { decideProtectRestorePoint, type ProtectRestorePointAt } from './protect-restore-point.decide.js';

const { given } = specificationOf({ initialState: initialBackupState, evolve: evolveBackup, decide: decideProtectRestorePoint });
const command = (change: ProtectRestorePointAt['change'], reason = 'r') => ({ backup_id: 'b1', change, reason, at: 'now' });
const pinned: BackupEvent = { type: 'RestorePointPinned', data: { reason: 'r', pinned_at: 'now' } };
const unpinned: BackupEvent = { type: 'RestorePointUnpinned', data: { reason: 'r', unpinned_at: 'now' } };
const held: BackupEvent = { type: 'RestorePointHeld', data: { reason: 'r', held_at: 'now' } };
const released: BackupEvent = { type: 'RestorePointReleased', data: { reason: 'r', released_at: 'now' } };
const expired: BackupEvent = { type: 'RestorePointExpired', data: { policy_id: 'p1', policy_version: 1, reasons: [], expired_at: 'm', grace_until: 'n' } };
const withdrawn = (kept_by: string): BackupEvent => ({ type: 'RestorePointExpiryWithdrawn', data: { kept_by: [kept_by], withdrawn_at: 'now' } });

describe('protecting a restore point', () => {
  it.each([
    ['pin', pinned, 'unpin', unpinned],
    ['hold', held, 'release', released],
  ] as const)('records a %s and its end once each', (begin, begun, end, ended) => {
    given(...histories.completed)
      .when(command(begin))
      .then(begun);
    given(...histories.completed, begun)
      .when(command(begin))
      .then();
    given(...histories.completed, begun)
      .when(command(end))
      .then(ended);
    given(...histories.completed, begun, ended)
      .when(command(end))
      .then();
  });

  it('records another reason', () => {
    given(...histories.completed, pinned)
      .when(command('pin', 'other'))
      .then({ type: 'RestorePointPinned', data: { reason: 'other', pinned_at: 'now' } });
  });

  it('keeps a hold when it is unpinned', () => {
    given(...histories.completed, held)
      .when(command('unpin'))
      .then();
  });

  it('takes back its expiry', () => {
    given(...histories.completed, expired)
      .when(command('pin'))
      .then(withdrawn('pinned'), pinned);
    given(...histories.completed, expired)
      .when(command('hold'))
      .then(withdrawn('held'), held);
  });

  it('is refused for a backup that is not a restore point', () => {
    given().when(command('pin')).thenRefused('backup_not_found');
    given(...histories.snapshotTaken)
      .when(command('hold'))
      .thenRefused('not_a_restore_point');
    given(...histories.completed, { type: 'BackupDeleted', data: { deleted_at: 'm' } })
      .when(command('pin'))
      .thenRefused('not_a_restore_point');
  });
});
