import type { DomainEvent } from '../../../../kernel/event.js';
import type { HealedFile } from '../../../../kernel/healed-file.js';

/** A full starts a chain. `chain_id` is derived from the full's backup id. */
export type ChainStarted = DomainEvent<
  'ChainStarted',
  { readonly chain_id: string; readonly vm_id: string; readonly repository_id: string; readonly backup_id: string }
>;
export type ChainExtended = DomainEvent<'ChainExtended', { readonly backup_id: string; readonly parent_backup_id: string }>;
/** A restore point that no other one depends on was deleted. */
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

/**
 * The files of a restore point are as they were sealed again: they were read in full and found sound. Recorded for one that was damaged, and for those that
 * depend on it.
 */
export type RestorePointHealed = DomainEvent<
  'RestorePointHealed',
  {
    readonly backup_id: string;
    /** The repository in which the files were damaged. */
    readonly repository_id: string;
    /** What was written again, and from which repositories; empty: another restore point was healed, or the files were sound by themselves. */
    readonly files: readonly HealedFile[];
    /** The restore point that this one depends on and that was healed; null: this one's own files were damaged. */
    readonly caused_by_backup_id: string | null;
    readonly verification_id: string;
    readonly healed_at: string;
  }
>;

/** A file that replaces another one with the same content of the disk. */
export type RewrittenFile = {
  readonly disk_id: number;
  readonly file: string;
  /** The file that the new one is based on, relative to the repository; null: none. */
  readonly parent_file: string | null;
  readonly parent_change_id: string | null;
  readonly before: { readonly size_bytes: number; readonly sha256: string };
  readonly after: { readonly size_bytes: number; readonly sha256: string; readonly mtime_ns: string };
};
/** Intent: these restore points go. Those that stay are made independent of them first. */
export type PruningRequested = DomainEvent<
  'PruningRequested',
  {
    readonly remove: readonly string[];
    /** Set if they go only as long as they are expired. */
    readonly only_expired?: true;
    readonly requested_at: string;
  }
>;
/** Intent: new files of a restore point are complete and are about to replace the old ones. Until then the old facts are true, afterwards the new ones. */
export type RestorePointRewriteStarted = DomainEvent<'RestorePointRewriteStarted', RewrittenPoint & { readonly started_at: string }>;
export type RewrittenPoint = {
  readonly backup_id: string;
  /** flatten: it becomes a full; absorb: it takes in the changes of the restore points between it and its new parent. */
  readonly operation: 'flatten' | 'absorb';
  /** The restore point that it is based on from now on; null: none. */
  readonly parent_backup_id: string | null;
  /** The restore points whose data it contains now, newest first. */
  readonly merged: readonly string[];
  /** Verdict of the comparison of the old and the new files. Others never replace a file. */
  readonly comparison: 'equal';
  readonly files: readonly RewrittenFile[];
};
/** The new files have replaced the old ones. */
export type RestorePointRewritten = DomainEvent<'RestorePointRewritten', RewrittenPoint & { readonly manifest_sha256: string; readonly rewritten_at: string }>;
/** The requested restore points that have not gone yet stay. */
export type PruningFailed = DomainEvent<'PruningFailed', { readonly code: string; readonly detail: string; readonly failed_at: string }>;

/** A restore point must not be removed before this time. With it all that it depends on is locked for at least as long. Locks only become longer. */
export type RestorePointLocked = DomainEvent<
  'RestorePointLocked',
  {
    readonly backup_id: string;
    /** ISO 8601, UTC; as in its manifest. */
    readonly locked_until: string;
    /** The restore points below it whose locks this makes longer. */
    readonly extended: readonly string[];
  }
>;

/** Stream `chain-<chain_id>`. */
export type ChainEvent =
  | ChainStarted
  | ChainExtended
  | RestorePointRemoved
  | RestorePointDamaged
  | RestorePointLocked
  | RestorePointHealed
  | PruningRequested
  | RestorePointRewriteStarted
  | RestorePointRewritten
  | PruningFailed;

export function chainStream(chainId: string): string {
  return `chain-${chainId}`;
}
