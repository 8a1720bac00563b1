import type { CommandContext } from '../../../../kernel/command-context.js';
import type { NodeVmNetwork } from '../../../../contract/node-api.js';

export interface WantedVm {
  readonly backupId: string;
  /** null: the one that the VM was backed up from. */
  readonly nodeId: string | null;
  readonly name: string;
  /** null: none, for an instant VM. */
  readonly storagePath: string | null;
  readonly instant: boolean;
  readonly keepIdentity: boolean;
  readonly start: boolean;
  /** What of a definition from elsewhere cannot stay as it was has been seen. */
  readonly acceptChanges: boolean;
  readonly network: NodeVmNetwork;
  readonly libvirtNetwork: string | null;
  readonly allowDamaged: boolean;
}

/**
 * Makes a VM of a restore point at a node. Answers with StartedRestore once it is recorded.
 * @throws DomainError backup_not_found, backup_not_restorable, restore_point_damaged, definition_missing, definition_broken, manifest_differs, changes_not_accepted, node_not_found, storage_path_or_instant, repository_unavailable
 */
export class StartVmRestore {
  constructor(
    readonly wanted: WantedVm,
    readonly context: CommandContext,
  ) {}
}

/** Stops a VM restore that runs and removes what it has made. Answers with the position of its newest event. @throws DomainError restore_job_not_found, restore_job_already_ended */
export class CancelVmRestore {
  constructor(
    readonly jobId: string,
    readonly context: CommandContext,
  ) {}
}

/** Removes an instant VM with what was written to it. Answers with the position of its newest event. @throws DomainError restore_job_not_found, vm_not_instant, restore_job_running */
export class RemoveInstantVm {
  constructor(
    readonly jobId: string,
    readonly context: CommandContext,
  ) {}
}
