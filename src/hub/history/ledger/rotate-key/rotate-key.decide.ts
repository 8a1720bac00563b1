import { DomainError } from '../../../../kernel/domain-error.js';
import type { LedgerEvent, LedgerKeyRotated } from '../model/ledger.events.js';
import type { LedgerState } from '../model/ledger.state.js';

export type RotateLedgerKey = LedgerKeyRotated['data'];

export function decideRotateLedgerKey(command: RotateLedgerKey, { key }: LedgerState): readonly LedgerEvent[] {
  if (key !== null && key !== command.old_key) {
    throw new DomainError(
      'conflict',
      'ledger_key_replaced',
      `The key of this hub is not the one that the last rotation has named, so it cannot name another. Put the file ledger.key of ${key} back.`,
      { expected_key: key, found_key: command.old_key },
    );
  }
  return [{ type: 'LedgerKeyRotated', data: command }];
}
