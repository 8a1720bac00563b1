import type { NodeLeftOutDisk, NodeSource, NodeVmDefinition } from '../../../../contract/node-api.js';
import type { BackupTypeDecision, ParentFacts, SourceDisk } from './backup-type.decide.js';
import type { RequestedBackupType } from './backup.events.js';

/** The current facts that a backup is based on, from the node, the repository and the chain. */
export type BackupFacts = {
  readonly vm: { readonly vm_id: string; readonly name: string; readonly source: NodeSource; readonly source_ref: string };
  readonly node: { readonly node_id: string; readonly url: string };
  readonly repository: { readonly repository_id: string; readonly path: string };
  readonly disks: readonly SourceDisk[];
  /** The hypervisor's current definition of the VM; null if there is none. */
  readonly definition: NodeVmDefinition | null;
  readonly left_out_disks: readonly NodeLeftOutDisk[];
  readonly parent: ParentFacts;
  readonly decision: BackupTypeDecision;
};

/**
 * Gathers the facts for a backup and chooses between full and incremental. A backup that is planned right after its request reuses the node's answer to the
 * request.
 * @throws DomainError: vm_not_found, repository_not_found, repository_unavailable, node_unreachable, node_silent, node_broken_answer, vm_not_found_at_node,
 * disk_in_use and other disk problems reported by the node, incremental_impossible
 */
export class GatherBackupFacts {
  constructor(
    readonly vmId: string,
    readonly repositoryId: string,
    readonly requested: RequestedBackupType,
    readonly backupId: string,
  ) {}
}

/** Locates the VM, node and repository of a run that has been planned. @throws DomainError vm_not_found, repository_not_found */
export class LocateBackup {
  constructor(
    readonly vmId: string,
    readonly nodeId: string,
    readonly repositoryId: string,
  ) {}
}

/** Lists the change ids, across all repositories, that the next incrementals of a VM start from. */
export class FindChangeIdsInUse {
  constructor(readonly vmId: string) {}
}

/** null: the VM, node or repository is no longer registered. */
export type BackupLocation = {
  readonly vm: BackupFacts['vm'] | null;
  readonly node_url: string | null;
  readonly repository_path: string | null;
};
