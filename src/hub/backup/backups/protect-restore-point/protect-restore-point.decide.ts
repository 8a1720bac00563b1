import { DomainError } from '../../../../kernel/domain-error.js';
import type { BackupEvent } from '../model/backup.events.js';
import type { BackupState, Retained } from '../model/backup.state.js';

export type ProtectRestorePointAt = {
  readonly backup_id: string;
  readonly change: 'pin' | 'unpin' | 'hold' | 'release';
  readonly reason: string;
  readonly at: string;
};

/** Only a restore point can be pinned or held. One that has expired is kept again by that. */
export function decideProtectRestorePoint({ backup_id, change, reason, at }: ProtectRestorePointAt, state: BackupState): readonly BackupEvent[] {
  if (state.status === 'none') throw new DomainError('not_found', 'backup_not_found', `There is no backup ${backup_id}.`, { backup_id });
  if (state.status !== 'completed') {
    throw new DomainError('conflict', 'not_a_restore_point', `Backup ${backup_id} is ${state.status}; only a completed backup can be pinned or held.`, {
      backup_id,
      backup_status: state.status,
    });
  }
  const { retained } = state.run;
  switch (change) {
    case 'pin':
      if (retained.pin === reason) return [];
      return [...withdrawal(retained, 'pinned', at), { type: 'RestorePointPinned', data: { reason, pinned_at: at } }];
    case 'unpin':
      return retained.pin === null ? [] : [{ type: 'RestorePointUnpinned', data: { reason, unpinned_at: at } }];
    case 'hold':
      if (retained.hold === reason) return [];
      return [...withdrawal(retained, 'held', at), { type: 'RestorePointHeld', data: { reason, held_at: at } }];
    case 'release':
      return retained.hold === null ? [] : [{ type: 'RestorePointReleased', data: { reason, released_at: at } }];
  }
}

function withdrawal({ expiry }: Retained, keptBy: string, withdrawn_at: string): readonly BackupEvent[] {
  return expiry === null ? [] : [{ type: 'RestorePointExpiryWithdrawn', data: { kept_by: [keptBy], withdrawn_at } }];
}
