import type { DomainEvent } from '../../../../kernel/event.js';
import type { HealedFile } from '../../../../kernel/healed-file.js';

/** One defect of one restore point. */
export type VerificationFinding = {
  readonly code:
    | 'restore_point_missing'
    | 'manifest_broken'
    | 'manifest_differs'
    | 'manifest_signature_invalid'
    | 'file_missing'
    | 'file_truncated'
    | 'file_altered'
    | 'file_unreadable'
    | 'digests_damaged'
    | 'parent_differs'
    | 'image_damaged';
  readonly backup_id: string;
  /** Relative to the repository; null if the finding concerns the restore point as a whole. */
  readonly file: string | null;
  readonly detail: string;
  /** The damaged parts of the file, at most the first 16; empty or omitted: not known. */
  readonly ranges?: readonly { readonly offset_bytes: number; readonly length_bytes: number }[];
};

/** A restore point of the chain to be verified, as recorded when it was sealed. */
export type PointToVerify = {
  readonly backup_id: string;
  /** Relative to the repository. */
  readonly folder: string;
  readonly manifest_sha256: string | null;
  readonly files: readonly { readonly file: string; readonly size_bytes: number; readonly sha256: string }[];
};

/** The conditions of a boot check. Either sign of life is enough. */
export type BootWanted = {
  readonly node_id: string;
  readonly console_text: string | null;
  readonly guest_agent: boolean;
  readonly timeout_seconds: number;
  /** null: as much memory as the VM has. */
  readonly memory_mib: number | null;
  readonly disks: readonly { readonly disk_id: number; readonly disk_key: string; readonly size_bytes: number }[];
};

/** A file that the hub keeps from a boot check. */
export type BootArtefact = { readonly name: 'console' | 'screenshot'; readonly file: string; readonly media_type: string; readonly size_bytes: number };

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
    /** Oldest first; the last is the requested restore point. */
    readonly points: readonly PointToVerify[];
    readonly requested_at: string;
    /** Omitted: only the files are verified. */
    readonly boot?: BootWanted;
    /** Set if damaged files are written again from other places that hold them. */
    readonly heal?: true;
  }
>;
/** New files of a damaged restore point are complete and proven, and are about to replace the damaged ones. The restore point is read again afterwards. */
export type HealingPrepared = DomainEvent<
  'HealingPrepared',
  { readonly backup_id: string; readonly files: readonly HealedFile[]; readonly prepared_at: string }
>;
/** A damaged restore point stays as it is. */
export type HealingFailed = DomainEvent<
  'HealingFailed',
  { readonly backup_id: string; readonly code: string; readonly detail: string; readonly failed_at: string }
>;
/** The files are sound. From here on the node may have a boot check for this attempt, and exports may exist. */
export type BootCheckStarted = DomainEvent<
  'BootCheckStarted',
  { readonly attempt: number; readonly files_checked: number; readonly bytes_checked: number; readonly started_at: string }
>;
/** The guest gave a sign of life, or did not. This says nothing about the files. */
export type BootChecked = DomainEvent<
  'BootChecked',
  {
    readonly verdict: 'booted' | 'not_booted';
    readonly sign: 'console_text' | 'guest_agent' | null;
    readonly detail: string;
    /** From the guest's start to the verdict. */
    readonly seconds: number;
    /** Parts of the definition that could not be kept. */
    readonly changes: readonly { readonly code: string; readonly detail: string }[];
    readonly artefacts: readonly BootArtefact[];
    /** Why there is no screenshot. */
    readonly screenshot_problem: string | null;
    readonly checked_at: string;
  }
>;
export type VerificationPassed = DomainEvent<
  'VerificationPassed',
  { readonly files_checked: number; readonly bytes_checked: number; readonly finished_at: string }
>;
/** No findings means that the files are sound, but the guest did not boot. */
export type VerificationFailed = DomainEvent<
  'VerificationFailed',
  {
    readonly findings: readonly VerificationFinding[];
    readonly files_checked: number;
    readonly bytes_checked: number;
    readonly finished_at: string;
  }
>;
/** No verdict, because the storage or a tool was unavailable. */
export type VerificationAborted = DomainEvent<'VerificationAborted', { readonly code: string; readonly detail: string; readonly finished_at: string }>;

/** Stream `verification-<verification_id>`. */
export type VerificationEvent =
  VerificationRequested | HealingPrepared | HealingFailed | BootCheckStarted | BootChecked | VerificationPassed | VerificationFailed | VerificationAborted;

export function verificationStream(verificationId: string): string {
  return `verification-${verificationId}`;
}
