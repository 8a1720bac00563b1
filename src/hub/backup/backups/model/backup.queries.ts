import type { NodeLeftOutDisk, NodeSource, NodeVmDefinition } from '../../../../contract/node-api.js';
import type { BackupTypeDecision, ParentFacts, SourceDisk } from './backup-type.decide.js';
import type { RequestedBackupType } from './backup.events.js';

/** What a backup starts from, as found at the node, in the repository and in the chain just now. */
export type BackupFacts = {
  readonly vm: { readonly vm_id: string; readonly name: string; readonly source: NodeSource; readonly source_ref: string };
  readonly node: { readonly node_id: string; readonly url: string };
  readonly repository: { readonly repository_id: string; readonly path: string };
  readonly disks: readonly SourceDisk[];
  /** How the hypervisor describes the VM just now; null where it does not. */
  readonly definition: NodeVmDefinition | null;
  readonly left_out_disks: readonly NodeLeftOutDisk[];
  readonly parent: ParentFacts;
  readonly decision: BackupTypeDecision;
};

/**
 * Gathers the facts for a backup and decides full or incremental. A backup that is planned right after its request rests on what the node was asked for the request.
 * @throws DomainError: vm_not_found, repository_not_found, repository_unavailable, node_unreachable, node_silent, node_broken_answer, vm_not_found_at_node,
 * disk_in_use and its like, incremental_impossible
 */
export class GatherBackupFacts {
  constructor(
    readonly vmId: string,
    readonly repositoryId: string,
    readonly requested: RequestedBackupType,
    readonly backupId: string,
  ) {}
}

/** Addresses that a run needs again after it was planned. @throws DomainError vm_not_found, repository_not_found */
export class LocateBackup {
  constructor(
    readonly vmId: string,
    readonly nodeId: string,
    readonly repositoryId: string,
  ) {}
}

/** Change ids that the next incrementals of a VM start from, of all repositories. The result is a list of them. */
export class FindChangeIdsInUse {
  constructor(readonly vmId: string) {}
}

/** null: that party is not registered any more. */
export type BackupLocation = {
  readonly vm: BackupFacts['vm'] | null;
  readonly node_url: string | null;
  readonly repository_path: string | null;
};
