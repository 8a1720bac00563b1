import { describe, it } from '@jest/globals';
import { histories } from '../../../../../test/support/backup-histories.js';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { RetentionFinding } from '../model/backup.commands.js';
import type { BackupEvent, Tier } from '../model/backup.events.js';
import { evolveBackup, initialBackupState } from '../model/backup.state.js';
import { decideRecordRetention } from './record-retention.decide.js';

const { given } = specificationOf({ initialState: initialBackupState, evolve: evolveBackup, decide: decideRecordRetention });
const found = (finding: RetentionFinding) => ({ finding, at: 'now', grace_until: 'later' });
const ids = { policy_id: 'p1', time_zone: 'UTC' };
const assign = (...tiers: readonly Tier[]) => found({ kind: 'assign_tiers', ...ids, tiers });
const assigned = (...tiers: readonly Tier[]): BackupEvent => ({ type: 'RestorePointTiersAssigned', data: { ...ids, tiers, assigned_at: 'now' } });
const rules = { policy_id: 'p1', policy_version: 2, reasons: [{ rule: 'keep_last', outcome: 'exceeded', period: null }] } as const;
const expire = found({ kind: 'expire', ...rules });
const expired: BackupEvent = { type: 'RestorePointExpired', data: { ...rules, expired_at: 'now', grace_until: 'later' } };
const withdraw = found({ kind: 'withdraw_expiry', kept_by: ['keep_last'] });
const withdrawn: BackupEvent = { type: 'RestorePointExpiryWithdrawn', data: { kept_by: ['keep_last'], withdrawn_at: 'now' } };
const defer = found({ kind: 'defer_removal', needed_by: ['b2'] });
const deferred: BackupEvent = { type: 'RestorePointRemovalDeferred', data: { needed_by: ['b2'], deferred_at: 'now' } };

describe('what the retention of a policy finds about a restore point', () => {
  it('is recorded once', () => {
    given(...histories.completed)
      .when(expire)
      .then(expired);
    given(...histories.completed, expired)
      .when(expire)
      .then();
    given(...histories.completed, expired)
      .when(defer)
      .then(deferred);
    given(...histories.completed, expired, deferred)
      .when(defer)
      .then();
    given(...histories.completed, expired, deferred)
      .when(withdraw)
      .then(withdrawn);
    given(...histories.completed, expired, withdrawn)
      .when(withdraw)
      .then();
    given(...histories.completed, expired, withdrawn)
      .when(expire)
      .then(expired);
  });

  it('adds tiers and takes none away', () => {
    given(...histories.completed)
      .when(assign('daily', 'weekly'))
      .then(assigned('daily', 'weekly'));
    given(...histories.completed, assigned('daily', 'weekly'))
      .when(assign('daily', 'monthly'))
      .then(assigned('monthly'));
    given(...histories.completed, assigned('daily'))
      .when(assign('daily'))
      .then();
  });

  it('expires nothing that was pinned, held or deleted meanwhile', () => {
    given(...histories.completed, { type: 'RestorePointPinned', data: { reason: 'r', pinned_at: 'm' } })
      .when(expire)
      .then();
    given(...histories.completed, { type: 'RestorePointHeld', data: { reason: 'r', held_at: 'm' } })
      .when(expire)
      .then();
    given(...histories.completed, { type: 'BackupDeleted', data: { deleted_at: 'm' } })
      .when(expire)
      .then();
  });
});
