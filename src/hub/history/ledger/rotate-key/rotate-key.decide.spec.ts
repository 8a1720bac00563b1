import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { LedgerKeyRotated } from '../model/ledger.events.js';
import { evolveLedger, initialLedgerState } from '../model/ledger.state.js';
import { decideRotateLedgerKey } from './rotate-key.decide.js';

const { given } = specificationOf({ initialState: initialLedgerState, evolve: evolveLedger, decide: decideRotateLedgerKey });
const rotated = (from: string, to: string): LedgerKeyRotated => ({
  type: 'LedgerKeyRotated',
  data: { old_key: from, new_key: to, statement: `${to} signed by ${from}`, rotated_at: '2026-11-21T10:30:00.000Z' },
});

describe('rotating the key of the ledger', () => {
  it('is recorded, again and again', () => {
    given().when(rotated('a', 'b').data).then(rotated('a', 'b'));
    given(rotated('a', 'b')).when(rotated('b', 'c').data).then(rotated('b', 'c'));
  });

  it('is refused to a key that the last rotation has not named', () => {
    given(rotated('a', 'b')).when(rotated('x', 'c').data).thenRefused('ledger_key_replaced', { expected_key: 'b', found_key: 'x' });
  });
});
