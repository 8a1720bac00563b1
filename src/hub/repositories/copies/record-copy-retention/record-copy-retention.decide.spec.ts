import { describe, it } from '@jest/globals';
import { copyHistories } from '../../../../../test/support/copy-histories.js';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { CopyEvent } from '../model/copy.events.js';
import { evolveCopy, initialCopyState } from '../model/copy.state.js';
import { decideRecordCopyRetention } from './record-copy-retention.decide.js';

const { given } = specificationOf({ initialState: initialCopyState, evolve: evolveCopy, decide: decideRecordCopyRetention });
const rules = { policy_id: 'p1', policy_version: 2, reasons: [{ rule: 'keep_last', outcome: 'exceeded', period: null }] } as const;
const expire = { finding: { kind: 'expire', ...rules }, at: 'now', grace_until: 'later' } as const;
const expired: CopyEvent = { type: 'CopyExpired', data: { ...rules, expired_at: 'now', grace_until: 'later' } };
const withdraw = { finding: { kind: 'withdraw_expiry', kept_by: ['pinned'] }, at: 'now', grace_until: 'later' } as const;
const withdrawn: CopyEvent = { type: 'CopyExpiryWithdrawn', data: { kept_by: ['pinned'], withdrawn_at: 'now' } };

describe('what a retention finds about a copy', () => {
  it('is recorded once', () => {
    given(...copyHistories.completed)
      .when(expire)
      .then(expired);
    given(...copyHistories.completed, expired)
      .when(expire)
      .then();
    given(...copyHistories.completed, expired)
      .when(withdraw)
      .then(withdrawn);
    given(...copyHistories.completed, expired, withdrawn)
      .when(withdraw)
      .then();
    given(...copyHistories.completed, expired, withdrawn)
      .when(expire)
      .then(expired);
  });

  it.each(['planned', 'failed', 'deleted'] as const)('is nothing for a copy that is %s', (phase) => {
    given(...copyHistories[phase])
      .when(expire)
      .then();
  });
});
