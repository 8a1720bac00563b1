import type { NodeVmProblem } from '../../contract/change-ids.js';
import type { NodeVm } from '../../contract/vm-list.js';
import type { NodeQuiesce } from '../../contract/words.js';
import type { Extent } from '../model/extents.plan.js';
import type { StandingSnapshot } from '../model/job.state.js';

/** Hypervisors that a node supports. */
export type SourceKind = NodeVm['source'];

export interface SnapshotRequest {
  readonly sourceRef: string;
  /** Exactly the disks that the hub expects, in its order. */
  readonly disks: readonly { readonly diskKey: string; readonly sizeBytes: number; /** null: a full backup. */ readonly parentChangeId: string | null }[];
  /** Name for all changes since this instant. May already exist from an earlier attempt of the same job. */
  readonly changeId: string;
  /** Where the source keeps the files of this snapshot (run directories, sockets); sufficient on its own to release it. */
  readonly directory: string;
  /** For running guests; a powered-off guest has nothing in flight. */
  readonly quiesce: NodeQuiesce;
}

export interface TakenSnapshot {
  readonly standing: StandingSnapshot;
  /** By disk key: allocated (full) or changed (incremental) extents, merged. */
  readonly extents: ReadonlyMap<string, readonly Extent[]>;
}

export interface SweepReport {
  /** Descriptions of everything removed since the last report. */
  readonly removed: readonly string[];
  /** VMs that cannot be backed up until someone does what the detail says. */
  readonly problems: readonly NodeVmProblem[];
}

/** A hypervisor driver. Refusals and failures are DomainErrors with a stable code; one that concerns a disk has its key in `facts.disk_key`. */
export abstract class Source {
  abstract readonly kind: SourceKind;
  /** All VMs that this source can see. An unreadable one is listed with its disks' problems. */
  abstract discover(): Promise<readonly NodeVm[]>;
  /** @throws DomainError vm_not_found */
  abstract describe(sourceRef: string): Promise<NodeVm>;
  /** Canonical name of the VM, the same for every way to address it. @throws DomainError vm_not_found if the reference alone shows that it does not exist */
  abstract canonicalRef(sourceRef: string): Promise<string>;
  /**
   * Checks all disks, then fixes all of them at one instant and serves them for reading. NOT all or nothing: after a failure the caller releases the directory.
   * @throws DomainError vm_not_found, disk_added, disk_removed, disk_resized, change_id_lost, disk_in_use, disk_unreadable, snapshot_failed, tool_missing, ...
   */
  abstract takeSnapshot(request: SnapshotRequest): Promise<TakenSnapshot>;
  /**
   * Checks that the snapshot is still served. Called after a restart of this process, and when a copy has failed. @throws DomainError snapshot_lost,
   * scratch_full
   */
  abstract confirmSnapshot(directory: string, snapshot: StandingSnapshot): Promise<void>;
  /** Proves after the last read that the data read is that of the instant. @throws DomainError source_changed, disk_in_use */
  abstract verifySnapshot(sourceRef: string, snapshot: StandingSnapshot): Promise<void>;
  /** Frees the source's disks and removes everything in the directory. A no-op if repeated, or if nothing was ever taken. */
  abstract releaseSnapshot(directory: string): Promise<void>;
  /** Change ids of all VMs that this source can see, usable or not, including those of other programs. */
  abstract changeIds(): Promise<readonly { readonly source_ref: string; readonly name: string; readonly change_ids: readonly string[] }[]>;
  /**
   * Removes leftovers of this node's snapshots whose directory is not among the living: the directory is gone, for example after a power cut, while other parts
   * remain, or a killed hypervisor undid the release. Called periodically.
   * @param living queried right before each removal
   */
  abstract sweep(living: () => readonly string[]): Promise<SweepReport>;
  /**
   * Removes the change ids that the caller declares unneeded; the caller is asked about every one, including those of other programs. A VM or disk that is gone
   * has none.
   * @returns those removed @throws DomainError disk_in_use, change_id_not_removed
   */
  abstract removeChangeIds(sourceRef: string, isUnneeded: (changeId: string) => boolean): Promise<readonly string[]>;
}
