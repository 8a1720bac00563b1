import type { DomainEvent } from '../../../../kernel/event.js';

export type RestoreFormat = 'raw' | 'qcow2' | 'vmdk';
export type RestoreShape = 'flattened' | 'chain';

/** A QCOW2 file from which a restored disk is read. */
export type SourceFile = {
  readonly backup_id: string;
  /** Relative to the repository. */
  readonly file: string;
  readonly size_bytes: number;
  readonly sha256: string;
};

export type RestoreDisk = {
  readonly disk_id: number;
  readonly disk_key: string;
  readonly virtual_size_bytes: number;
  /** Oldest first; the last is the restore point's own. */
  readonly sources: readonly SourceFile[];
  /** Names of the files to create in the target directory: one, or for a chain one per source, in the same order. */
  readonly outputs: readonly string[];
};

export type DamagedSource = {
  readonly backup_id: string;
  /** Relative to the repository. */
  readonly file: string;
  readonly detail: string;
};

export type RestoreStage = 'copying' | 'checking' | 'publishing';

/** From this event on, the job's temporary directory and processes may exist. */
export type RestoreJobRequested = DomainEvent<
  'RestoreJobRequested',
  {
    readonly job_id: string;
    readonly backup_id: string;
    readonly chain_id: string;
    readonly vm_id: string;
    readonly vm_name: string;
    readonly repository_id: string;
    readonly repository_path: string;
    /** Absolute path of an existing directory of the hub. */
    readonly target_path: string;
    readonly format: RestoreFormat;
    readonly chain: RestoreShape;
    readonly overwrite: boolean;
    /** Damaged sources are restored as far as they can be read. Absent: damage fails the job. */
    readonly allow_damaged?: boolean;
    readonly disks: readonly RestoreDisk[];
    readonly requested_at: string;
  }
>;
export type DiskRestoreStarted = DomainEvent<'DiskRestoreStarted', { readonly disk_id: number; readonly started_at: string }>;
export type DiskRestoreProgressed = DomainEvent<'DiskRestoreProgressed', { readonly disk_id: number; readonly percent: number }>;
/** All bytes are written to the temporary directory. */
export type DiskRestoreCopied = DomainEvent<'DiskRestoreCopied', { readonly disk_id: number; readonly copied_at: string }>;
/** The written disk is on stable storage and identical to the restore point. */
export type DiskRestoreCompared = DomainEvent<'DiskRestoreCompared', { readonly disk_id: number; readonly compared_at: string }>;
/** Every source file has the hash recorded when it was sealed. */
export type RestoreSourcesVerified = DomainEvent<'RestoreSourcesVerified', { readonly files: number; readonly bytes: number; readonly verified_at: string }>;
/** Source files differ from the sealed ones; the job continues because it allows damage. */
export type RestoreSourcesDamaged = DomainEvent<'RestoreSourcesDamaged', { readonly files: readonly DamagedSource[]; readonly found_at: string }>;
/** The files are in the target directory under their final names. */
export type RestoreJobCompleted = DomainEvent<'RestoreJobCompleted', { readonly files: readonly string[]; readonly completed_at: string }>;
export type RestoreJobFailed = DomainEvent<
  'RestoreJobFailed',
  { readonly stage: RestoreStage; readonly code: string; readonly detail: string; readonly failed_at: string }
>;
export type RestoreJobCancelled = DomainEvent<'RestoreJobCancelled', { readonly cancelled_at: string }>;
/** Temporary directory, processes and run directories are removed; after a failure or cancel, so is everything the job has written. */
export type RestoreJobCleanedUp = DomainEvent<'RestoreJobCleanedUp', { readonly cleaned_up_at: string }>;

/** Stream `restoreJob-<job_id>`. */
export type RestoreJobEvent =
  | RestoreJobRequested
  | DiskRestoreStarted
  | DiskRestoreProgressed
  | DiskRestoreCopied
  | DiskRestoreCompared
  | RestoreSourcesVerified
  | RestoreSourcesDamaged
  | RestoreJobCompleted
  | RestoreJobFailed
  | RestoreJobCancelled
  | RestoreJobCleanedUp;

export function restoreJobStream(jobId: string): string {
  return `restoreJob-${jobId}`;
}
