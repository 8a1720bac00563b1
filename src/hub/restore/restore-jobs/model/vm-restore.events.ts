import type { DomainEvent } from '../../../../kernel/event.js';
import type { NodeDefinitionChange, NodeVmNetwork } from '../../../../contract/node-api.js';
import type { DamagedSource, SourceFile } from './restore-job.events.js';

/** `copy`: the disks become files of the node; `instant`: the VM uses NBD exports of the hub, for as long as it exists. */
export type VmRestoreMode = 'copy' | 'instant';
export type VmRestoreStage = 'preparing' | 'copying' | 'defining';

export type VmRestoreDisk = {
  readonly disk_id: number;
  readonly disk_key: string;
  readonly virtual_size_bytes: number;
  /** Oldest first; the last is the restore point's own. */
  readonly sources: readonly SourceFile[];
  /** Name in the storage path; null exactly when the VM is instant. */
  readonly file_name: string | null;
};

/** From here on exports may exist. The definition is in the restore point's manifest. */
export type VmRestoreRequested = DomainEvent<
  'VmRestoreRequested',
  {
    readonly job_id: string;
    readonly backup_id: string;
    readonly chain_id: string;
    readonly vm_id: string;
    readonly vm_name: string;
    readonly repository_id: string;
    readonly repository_path: string;
    /** Of the restore point, relative to the repository. */
    readonly folder: string;
    readonly mode: VmRestoreMode;
    readonly node_id: string;
    readonly name: string;
    /** null: as in the definition. */
    readonly uuid: string | null;
    readonly keep_identity: boolean;
    readonly start: boolean;
    readonly network: NodeVmNetwork;
    readonly libvirt_network: string | null;
    /** Absolute path at the node; null exactly when the VM is instant. */
    readonly storage_path: string | null;
    readonly disks: readonly VmRestoreDisk[];
    /** The VM is made of what can be read, damaged or not. Absent: damage fails the job. */
    readonly allow_damaged?: boolean;
    readonly requested_at: string;
  }
>;
/** The node can read the disk; in an instant restore it can write to an overlay of it. */
export type VmRestoreDiskPublished = DomainEvent<
  'VmRestoreDiskPublished',
  { readonly disk_id: number; readonly export_id: string; readonly uri: string; readonly published_at: string }
>;
/** Intent: from here on the node may have a job of this id. */
export type VmRestoreSentToNode = DomainEvent<'VmRestoreSentToNode', { readonly node_id: string; readonly sent_at: string }>;
/** Every source file has the hash that was recorded when it was sealed. */
export type VmRestoreSourcesVerified = DomainEvent<
  'VmRestoreSourcesVerified',
  { readonly files: number; readonly bytes: number; readonly verified_at: string }
>;
/** These source files are not what was sealed, and the job goes on all the same, as was asked. */
export type VmRestoreSourcesDamaged = DomainEvent<'VmRestoreSourcesDamaged', { readonly files: readonly DamagedSource[]; readonly found_at: string }>;
export type VmDiskRestoreProgressed = DomainEvent<
  'VmDiskRestoreProgressed',
  { readonly disk_id: number; readonly phase: 'copying' | 'comparing' | 'completed'; readonly percent: number }
>;
/** The domain is defined at the node, and every disk reads the same as the restore point. */
export type VmRestoreCompleted = DomainEvent<
  'VmRestoreCompleted',
  {
    readonly uuid: string;
    /** Absolute paths at the node; none for an instant VM. */
    readonly files: readonly string[];
    readonly changes: readonly NodeDefinitionChange[];
    readonly started: boolean;
    readonly start_error: { readonly code: string; readonly detail: string } | null;
    readonly completed_at: string;
  }
>;
export type VmRestoreFailed = DomainEvent<
  'VmRestoreFailed',
  { readonly stage: VmRestoreStage; readonly code: string; readonly detail: string; readonly failed_at: string }
>;
export type VmRestoreCancelled = DomainEvent<'VmRestoreCancelled', { readonly cancelled_at: string }>;
/** An instant VM is given up: it is about to be removed with what was written to it. */
export type InstantVmGivenUp = DomainEvent<'InstantVmGivenUp', { readonly given_up_at: string }>;
/** The exports are gone, and the node holds nothing of the job but a finished VM with its files. */
export type VmRestoreCleanedUp = DomainEvent<'VmRestoreCleanedUp', { readonly cleaned_up_at: string }>;

/** Stream `vmRestore-<job_id>`. */
export type VmRestoreEvent =
  | VmRestoreRequested
  | VmRestoreDiskPublished
  | VmRestoreSentToNode
  | VmRestoreSourcesVerified
  | VmRestoreSourcesDamaged
  | VmDiskRestoreProgressed
  | VmRestoreCompleted
  | VmRestoreFailed
  | VmRestoreCancelled
  | InstantVmGivenUp
  | VmRestoreCleanedUp;

export function vmRestoreStream(jobId: string): string {
  return `vmRestore-${jobId}`;
}
