import type { DomainEvent } from '../../../../kernel/event.js';

/** A full starts a chain. `chain_id` is derived from the full's backup id. */
export type ChainStarted = DomainEvent<
  'ChainStarted',
  { readonly chain_id: string; readonly vm_id: string; readonly repository_id: string; readonly backup_id: string }
>;
export type ChainExtended = DomainEvent<'ChainExtended', { readonly backup_id: string; readonly parent_backup_id: string }>;
/** The newest restore point of the chain was deleted. */
export type RestorePointRemoved = DomainEvent<'RestorePointRemoved', { readonly backup_id: string }>;
/** A restore point's file was found missing, truncated or altered; no incremental may be based on it. */
export type RestorePointDamaged = DomainEvent<
  'RestorePointDamaged',
  {
    readonly backup_id: string;
    readonly code: 'parent_missing' | 'parent_truncated' | 'parent_altered';
    readonly detail: string;
    /** Relative to the repository; null if the damage concerns the restore point as a whole. Events of early hubs lack this member and the ones below. */
    readonly file?: string | null;
    /** The verification that found it; null: something else found it. */
    readonly verification_id?: string | null;
    /** The damaged restore point that this one depends on; null: this one's own files are damaged. */
    readonly caused_by_backup_id?: string | null;
  }
>;

/** Stream `chain-<chain_id>`. */
export type ChainEvent = ChainStarted | ChainExtended | RestorePointRemoved | RestorePointDamaged;

export function chainStream(chainId: string): string {
  return `chain-${chainId}`;
}
