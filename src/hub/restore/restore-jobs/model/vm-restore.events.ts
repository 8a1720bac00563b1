import type { DomainEvent } from '../../../../kernel/event.js';
import type { NodeDefinitionChange } from '../../../../contract/vm-definition.js';
import type { NodeVmNetwork, Plain } from '../../../../contract/words.js';
import type { DamagedSource, SourceFile } from './restore-job.events.js';

/** `copy`: the disks become files on the node; `instant`: the VM uses NBD exports of the hub as long as it exists. */
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

/** From this event on, exports may exist. The definition is in the restore point's manifest. */
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
    /** The restore point's directory, relative to the repository. */
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
    /** Absolute path on the node; null exactly when the VM is instant. */
    readonly storage_path: string | null;
    readonly disks: readonly VmRestoreDisk[];
    /** Damaged sources are restored as far as they can be read. Absent: damage fails the job. */
    readonly allow_damaged?: boolean;
    readonly requested_at: string;
  }
>;
/** The node can read the disk; for an instant VM it can also write to an overlay. */
export type VmRestoreDiskPublished = DomainEvent<
  'VmRestoreDiskPublished',
  { readonly disk_id: number; readonly export_id: string; readonly uri: string; readonly published_at: string }
>;
/** Intent: from this event on, the node may have a job with this id. */
export type VmRestoreSentToNode = DomainEvent<'VmRestoreSentToNode', { readonly node_id: string; readonly sent_at: string }>;
/** Every source file has the hash recorded when it was sealed. */
export type VmRestoreSourcesVerified = DomainEvent<
  'VmRestoreSourcesVerified',
  { readonly files: number; readonly bytes: number; readonly verified_at: string }
>;
/** These source files differ from the sealed ones; the job continues because it allows damage. */
export type VmRestoreSourcesDamaged = DomainEvent<'VmRestoreSourcesDamaged', { readonly files: readonly DamagedSource[]; readonly found_at: string }>;
export type VmDiskRestoreProgressed = DomainEvent<
  'VmDiskRestoreProgressed',
  { readonly disk_id: number; readonly phase: 'copying' | 'comparing' | 'completed'; readonly percent: number }
>;
/** The domain is defined on the node, and every disk is identical to the restore point. */
export type VmRestoreCompleted = DomainEvent<
  'VmRestoreCompleted',
  {
    readonly uuid: string;
    /** Absolute paths on the node; none for an instant VM. */
    readonly files: readonly string[];
    readonly changes: readonly Plain<NodeDefinitionChange>[];
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
/** The removal of an instant VM, with the data written to it, is requested. */
export type InstantVmGivenUp = DomainEvent<'InstantVmGivenUp', { readonly given_up_at: string }>;
/** The exports are gone, and nothing of the job remains on the node except a finished VM with its files. */
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
