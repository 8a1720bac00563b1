import { unknownVariant } from '../../../../kernel/decider.js';
import type { LedgerEvent } from './ledger.events.js';

export interface LedgerState {
  /** Verifier key of the newest rotation; null: the first key is in use. */
  readonly key: string | null;
}

export const initialLedgerState: LedgerState = { key: null };

export function evolveLedger(_state: LedgerState, event: LedgerEvent): LedgerState {
  switch (event.type) {
    case 'LedgerKeyRotated':
      return { key: event.data.new_key };
    default:
      return unknownVariant('evolveLedger', event.type);
  }
}
