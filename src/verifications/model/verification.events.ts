import type { DomainEvent } from '../../kernel/event.js';

/** One thing that is wrong with one restore point. */
export type VerificationFinding = {
  readonly code:
    | 'restore_point_missing'
    | 'manifest_broken'
    | 'manifest_differs'
    | 'file_missing'
    | 'file_truncated'
    | 'file_altered'
    | 'file_unreadable'
    | 'parent_differs'
    | 'image_damaged';
  readonly backup_id: string;
  /** Relative to the repository; null where it is about the restore point as a whole. */
  readonly file: string | null;
  readonly detail: string;
};

/** A restore point of the chain that is to be read, by what was recorded when it was sealed. */
export type PointToVerify = {
  readonly backup_id: string;
  /** Relative to the repository. */
  readonly folder: string;
  readonly manifest_sha256: string | null;
  readonly files: readonly { readonly file: string; readonly size_bytes: number; readonly sha256: string }[];
};

export type VerificationRequested = DomainEvent<
  'VerificationRequested',
  {
    readonly verification_id: string;
    readonly backup_id: string;
    readonly vm_id: string;
    readonly vm_name: string;
    readonly repository_id: string;
    readonly repository_path: string;
    readonly chain_id: string;
    /** Oldest first; the last is the restore point that was asked for. */
    readonly points: readonly PointToVerify[];
    readonly requested_at: string;
  }
>;
export type VerificationPassed = DomainEvent<
  'VerificationPassed',
  { readonly files_checked: number; readonly bytes_checked: number; readonly finished_at: string }
>;
export type VerificationFailed = DomainEvent<
  'VerificationFailed',
  {
    readonly findings: readonly VerificationFinding[];
    readonly files_checked: number;
    readonly bytes_checked: number;
    readonly finished_at: string;
  }
>;
/** It could not be found out, because the storage or a tool was away: no verdict. */
export type VerificationAborted = DomainEvent<'VerificationAborted', { readonly code: string; readonly detail: string; readonly finished_at: string }>;

/** Stream `verification-<verification_id>`. */
export type VerificationEvent = VerificationRequested | VerificationPassed | VerificationFailed | VerificationAborted;

export function verificationStream(verificationId: string): string {
  return `verification-${verificationId}`;
}
