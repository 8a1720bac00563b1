import type { NodeQuiesce, NodeVm, NodeVmProblem } from '../../contract/node-api.js';
import type { Extent } from '../model/extents.plan.js';
import type { StandingSnapshot } from '../model/job.state.js';

/** Hypervisors that a node can speak to. */
export type SourceKind = NodeVm['source'];

export interface SnapshotRequest {
  readonly sourceRef: string;
  /** Exactly the disks that the hub expects, in its order. */
  readonly disks: readonly { readonly diskKey: string; readonly sizeBytes: number; /** null: full. */ readonly parentChangeId: string | null }[];
  /** Name to give to "everything since this instant". May exist already from an earlier try of the same job. */
  readonly changeId: string;
  /** Where the source keeps what belongs to this snapshot (run directories, sockets); it alone is enough to release it. */
  readonly directory: string;
  /** Of a guest that runs; one that is powered off has nothing in flight. */
  readonly quiesce: NodeQuiesce;
}

export interface TakenSnapshot {
  readonly standing: StandingSnapshot;
  /** By disk key: allocated (full) or changed (incremental) extents, merged. */
  readonly extents: ReadonlyMap<string, readonly Extent[]>;
}

export interface SweepReport {
  /** In words, what was removed since the last report. */
  readonly removed: readonly string[];
  /** VMs that cannot be backed up until somebody has done what the detail says. */
  readonly problems: readonly NodeVmProblem[];
}

/**
 * What a hypervisor driver does for the node. Refusals and failures are DomainErrors with a stable code; one that concerns a disk has its key in `facts.disk_key`.
 */
export abstract class Source {
  abstract readonly kind: SourceKind;
  /** All VMs that this source sees. One that cannot be read is listed with its disks' problems. */
  abstract discover(): Promise<readonly NodeVm[]>;
  /** @throws DomainError vm_not_found */
  abstract describe(sourceRef: string): Promise<NodeVm>;
  /** Canonical name of the VM, the same for every way to address it. @throws DomainError vm_not_found where it can be told from the reference that there is none */
  abstract canonicalRef(sourceRef: string): Promise<string>;
  /**
   * Checks all disks, then fixes all of them at one instant and serves them for reading, all or nothing is NOT promised: after a failure the caller releases the directory.
   * @throws DomainError vm_not_found, disk_added, disk_removed, disk_resized, change_id_lost, disk_in_use, disk_unreadable, snapshot_failed, tool_missing, ...
   */
  abstract takeSnapshot(request: SnapshotRequest): Promise<TakenSnapshot>;
  /** Is the snapshot still served? Asked about one of an earlier life of this process, and when a copy has failed. @throws DomainError snapshot_lost, scratch_full */
  abstract confirmSnapshot(directory: string, snapshot: StandingSnapshot): Promise<void>;
  /** Proves after the last read that what was read is the instant. @throws DomainError source_changed, disk_in_use */
  abstract verifySnapshot(sourceRef: string, snapshot: StandingSnapshot): Promise<void>;
  /** Frees the source's disks and removes everything in the directory. Harmless when done twice or when nothing was ever taken. */
  abstract releaseSnapshot(directory: string): Promise<void>;
  /** Change ids of all VMs that this source sees, usable or not, also other programs'. */
  abstract changeIds(): Promise<readonly { readonly source_ref: string; readonly name: string; readonly change_ids: readonly string[] }[]>;
  /**
   * Removes what is left of snapshots of this node whose directory is not among the living: everything of theirs but the directory is gone, after a power cut say, or their release
   * was undone by a hypervisor that was killed. Asked again and again.
   * @param living asked just before something is removed
   */
  abstract sweep(living: () => readonly string[]): Promise<SweepReport>;
  /**
   * Removes the change ids that the caller calls unneeded; it is asked about all there are, also about other programs'. A VM or disk that is gone has none.
   * @returns those removed @throws DomainError disk_in_use, change_id_not_removed
   */
  abstract removeChangeIds(sourceRef: string, isUnneeded: (changeId: string) => boolean): Promise<readonly string[]>;
}
