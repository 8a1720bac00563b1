import { Command } from '@nestjs/cqrs';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Position } from '../../../../kernel/position.js';
import type { StartedRestore } from './restore-job.commands.js';
import type { NodeVmNetwork } from '../../../../contract/words.js';

export interface WantedVm {
  readonly backupId: string;
  /** See WantedPlace. */
  readonly repositoryId: string | null;
  /** null: the node from which the VM was backed up. */
  readonly nodeId: string | null;
  readonly name: string;
  /** null for an instant VM. */
  readonly storagePath: string | null;
  readonly instant: boolean;
  readonly keepIdentity: boolean;
  readonly start: boolean;
  /** The user has seen and accepts the changes to a definition from another node or an import. */
  readonly acceptChanges: boolean;
  readonly network: NodeVmNetwork;
  readonly libvirtNetwork: string | null;
  readonly allowDamaged: boolean;
}

/**
 * Restores a restore point as a VM on a node. Answers once the job is recorded.
 * @throws DomainError backup_not_found, backup_not_restorable, restore_point_damaged, definition_missing, definition_broken, manifest_differs,
 * changes_not_accepted, node_not_found, storage_path_or_instant, repository_unavailable
 */
export class StartVmRestore extends Command<StartedRestore> {
  constructor(
    readonly wanted: WantedVm,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/**
 * Removes an instant VM and the data written to it. Answers with the position of its newest event.
 * @throws DomainError restore_job_not_found, vm_not_instant, restore_job_running
 */
export class RemoveInstantVm extends Command<Position | null> {
  constructor(
    readonly jobId: string,
    readonly context: CommandContext,
  ) {
    super();
  }
}
