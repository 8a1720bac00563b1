import { describe, it } from '@jest/globals';
import { copyHistories } from '../../../../../test/support/copy-histories.js';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { CopyEvent } from '../model/copy.events.js';
import { evolveCopy, initialCopyState } from '../model/copy.state.js';
import { decideDeleteCopy } from './delete-copy.decide.js';

const { given } = specificationOf({ initialState: initialCopyState, evolve: evolveCopy, decide: decideDeleteCopy });
const command = { copy_id: 'c1', deleted_at: 'now', used_by: [], immutable: false, only_expired: false };

describe('deleting a copy', () => {
  it('is possible when it is complete and nothing uses it', () => {
    given(...copyHistories.completed)
      .when(command)
      .then({ type: 'CopyDeleted', data: { deleted_at: 'now' } });
  });

  it('is refused while it is locked, or its files are immutable', () => {
    const locked: CopyEvent = { type: 'CopyLocked', data: { locked_until: '2027-01-02T00:00:00.000Z' } };
    given(...copyHistories.completed, locked)
      .when({ ...command, deleted_at: '2027-01-01T23:59:59.999Z' })
      .thenRefused('copy_locked');
    given(...copyHistories.completed, locked)
      .when({ ...command, deleted_at: '2027-01-02T00:00:00.000Z', immutable: true })
      .thenRefused('copy_locked');
    given(...copyHistories.completed, locked)
      .when({ ...command, deleted_at: '2027-01-02T00:00:00.000Z' })
      .thenTypes('CopyDeleted');
  });

  it('that retention asks for is refused unless it has expired and its grace period has ended', () => {
    const byRetention = { ...command, deleted_at: '2027-01-02T00:00:00.000Z', only_expired: true };
    const expired = (grace_until: string): CopyEvent => ({
      type: 'CopyExpired',
      data: { policy_id: 'p1', policy_version: 1, reasons: [], expired_at: '2027-01-01T00:00:00.000Z', grace_until },
    });
    given(...copyHistories.completed)
      .when(byRetention)
      .thenRefused('copy_not_expired');
    given(...copyHistories.completed, expired('2027-01-02T00:00:00.001Z'))
      .when(byRetention)
      .thenRefused('copy_not_expired');
    given(...copyHistories.completed, expired('2027-01-02T00:00:00.000Z'), { type: 'CopyExpiryWithdrawn', data: { kept_by: ['pinned'], withdrawn_at: 'now' } })
      .when(byRetention)
      .thenRefused('copy_not_expired');
    given(...copyHistories.completed, expired('2027-01-02T00:00:00.000Z'))
      .when(byRetention)
      .thenTypes('CopyDeleted');
  });

  it('is refused while something uses it', () => {
    given(...copyHistories.completed)
      .when({ ...command, used_by: ['copy c2'] })
      .thenRefused('copy_in_use', { copy_id: 'c1', used_by: ['copy c2'] });
  });

  it.each(['failed', 'cancelled', 'deleted'] as const)('changes nothing when it is %s, because nothing of it is left', (phase) => {
    given(...copyHistories[phase])
      .when(command)
      .then();
  });

  it('is refused while it is under way, and for a copy that does not exist', () => {
    given(...copyHistories.planned)
      .when(command)
      .thenRefused('copy_not_ended');
    given().when(command).thenRefused('copy_not_found');
  });
});
