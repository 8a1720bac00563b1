import type { DomainEvent } from '../../../../kernel/event.js';
import type { ExpiryReason } from '../../../../kernel/expiry-reason.js';
import type { HealedFile } from '../../../../kernel/healed-file.js';

/** One disk of a copy, as the manifest of the copy describes it. */
export type CopiedDisk = {
  readonly disk_id: number;
  readonly disk_key: string;
  readonly virtual_size_bytes: number;
  /** Name in the restore point's folder. */
  readonly file: string;
  /** The file that it is based on, relative to the repository; null if it holds the whole disk. */
  readonly parent_file: string | null;
  readonly size_bytes: number;
  /** SHA-256 of the file, lower-case hex. */
  readonly sha256: string;
};

/** How the copy is stored: `identical` in every byte, or `flattened` into a full, because its parent is not at the target. */
export type CopyForm = 'identical' | 'flattened';

export type CopyRequested = DomainEvent<
  'CopyRequested',
  {
    readonly copy_id: string;
    readonly backup_id: string;
    readonly vm_id: string;
    readonly vm_name: string;
    readonly chain_id: string;
    readonly source_repository_id: string;
    readonly source_repository_path: string;
    /** The repository that receives the copy. */
    readonly repository_id: string;
    readonly repository_path: string;
    /** The policy whose rule asks for the copy; null: a person did. */
    readonly policy_id: string | null;
    /** Bytes per second at most; null: not limited. */
    readonly bandwidth_limit_bps: number | null;
    readonly requested_at: string;
  }
>;
/** Recorded again if the source's files are replaced before they are copied. */
export type CopyPlanned = DomainEvent<
  'CopyPlanned',
  {
    readonly form: CopyForm;
    /** Relative to both repositories. */
    readonly folder: string;
    /** The restore point that the copy depends on, which has a copy in the same repository; null: none. */
    readonly parent_backup_id: string | null;
    /** SHA-256 of the source's manifest.json, lower-case hex. */
    readonly source_manifest_sha256: string;
    /** Length of the source's files. */
    readonly total_bytes: number;
    readonly planned_at: string;
  }
>;
/** The copy cannot continue now and is tried again. Recorded once for each cause. */
export type CopyInterrupted = DomainEvent<'CopyInterrupted', { readonly code: string; readonly detail: string; readonly interrupted_at: string }>;
/** All files are complete and durable in the partial folder, and were read back and compared with the digests of the source. */
export type CopyVerified = DomainEvent<
  'CopyVerified',
  {
    readonly manifest_sha256: string;
    readonly disks: readonly CopiedDisk[];
    readonly written_bytes: number;
    /** Found at the target already, with the right content. */
    readonly kept_bytes: number;
    readonly verified_at: string;
  }
>;
/** The copy is a restore point. */
export type CopyCompleted = DomainEvent<'CopyCompleted', { readonly completed_at: string }>;
/** The copy must not be removed before this time, by the immutability of the repository that holds it. Recorded when it is completed. */
export type CopyLocked = DomainEvent<'CopyLocked', { readonly locked_until: string }>;
export type CopyFailed = DomainEvent<'CopyFailed', { readonly code: string; readonly detail: string; readonly failed_at: string }>;
export type CopyCancelled = DomainEvent<'CopyCancelled', { readonly cancelled_at: string }>;
/** Nothing of a failed or cancelled copy is left at the target. */
export type CopyUndone = DomainEvent<'CopyUndone', { readonly undone_at: string }>;
/** The rule that asked for the copy does not keep it. Its files stay until the grace period has ended, and no other copy depends on it. */
export type CopyExpired = DomainEvent<
  'CopyExpired',
  {
    readonly policy_id: string;
    /** The version whose rules decided. */
    readonly policy_version: number;
    readonly reasons: readonly ExpiryReason[];
    readonly expired_at: string;
    readonly grace_until: string;
  }
>;
/** The copy is kept again: by a rule, without a retention, or because its restore point was pinned or held. */
export type CopyExpiryWithdrawn = DomainEvent<'CopyExpiryWithdrawn', { readonly kept_by: readonly string[]; readonly withdrawn_at: string }>;
export type CopyDeleted = DomainEvent<'CopyDeleted', { readonly deleted_at: string }>;
export type CopyFilesRemoved = DomainEvent<'CopyFilesRemoved', { readonly removed_at: string }>;
/** The shape of early hubs; CopyDamagedV2 is recorded now. */
export type CopyDamaged = DomainEvent<
  'CopyDamaged',
  {
    readonly code: 'file_missing' | 'file_truncated' | 'file_altered';
    /** Relative to the repository; null: the restore point as a whole. */
    readonly file: string | null;
    readonly detail: string;
    readonly detected_at: string;
  }
>;
/** A file of the copy differs from what was copied. */
export type CopyDamagedV2 = DomainEvent<
  'CopyDamagedV2',
  CopyDamaged['data'] & {
    /** The damaged parts of the file, at most the first 16; empty: not known. */
    readonly ranges: readonly { readonly offset_bytes: number; readonly length_bytes: number }[];
    /** The verification that found it; null: something else found it. */
    readonly verification_id: string | null;
  }
>;
/** All files of the copy were read and are what was copied. */
export type CopyChecked = DomainEvent<'CopyChecked', { readonly verification_id: string; readonly checked_at: string }>;
/** The files of a damaged copy are what was copied again: they were read in full and found sound. */
export type CopyHealed = DomainEvent<
  'CopyHealed',
  {
    /** What was written again, and from which repositories; empty: the files were sound by themselves. */
    readonly files: readonly HealedFile[];
    readonly verification_id: string;
    readonly healed_at: string;
  }
>;
/** Stream `copy-<copy_id>`. */
export type CopyEvent =
  | CopyRequested
  | CopyPlanned
  | CopyInterrupted
  | CopyVerified
  | CopyCompleted
  | CopyLocked
  | CopyFailed
  | CopyCancelled
  | CopyUndone
  | CopyExpired
  | CopyExpiryWithdrawn
  | CopyDeleted
  | CopyFilesRemoved
  | CopyDamaged
  | CopyDamagedV2
  | CopyChecked
  | CopyHealed;

export function copyStream(copyId: string): string {
  return `copy-${copyId}`;
}
