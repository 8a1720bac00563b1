import type { LedgerEvent } from './ledger.events.js';

export interface LedgerState {
  /** Verifier key of the newest rotation; null: the first key is in use. */
  readonly key: string | null;
}

export const initialLedgerState: LedgerState = { key: null };

export function evolveLedger(_state: LedgerState, event: LedgerEvent): LedgerState {
  const type: string = event.type;
  // The only type so far; a stored event may have another.
  if (type !== 'LedgerKeyRotated') throw new Error(`evolveLedger: unknown variant ${type}`);
  return { key: event.data.new_key };
}
