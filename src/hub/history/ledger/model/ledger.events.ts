import type { DomainEvent } from '../../../../kernel/event.js';

/** From here on another key signs the checkpoints. Private keys are never in an event. */
export type LedgerKeyRotated = DomainEvent<
  'LedgerKeyRotated',
  {
    /** Verifier keys (C2SP signed-note): `<origin>+<key id>+<key>`. */
    readonly old_key: string;
    readonly new_key: string;
    /** Signed note in which the old key names the new one. */
    readonly statement: string;
    /** ISO 8601, UTC. */
    readonly rotated_at: string;
  }
>;

export type LedgerEvent = LedgerKeyRotated;

export function ledgerStream(hubId: string): string {
  return `ledger-${hubId}`;
}
