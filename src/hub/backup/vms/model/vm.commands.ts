import type { CommandContext } from '../../../../kernel/command-context.js';
import type { VmDisk, VmRegistered, VmSource } from './vm.events.js';

/**
 * Make a VM known, as its node describes it now. The result is a VmRegistration.
 * @throws DomainError vm_name_invalid, vm_name_taken, vm_already_registered, vm_without_disks, vm_not_found_at_node, node_not_found, no_node_registered, node_ambiguous, or why the node
 * cannot be asked (node_unreachable, node_silent, node_broken_answer)
 */
export class RegisterVm {
  constructor(
    readonly name: string,
    /** null: the only node there is. */
    readonly nodeId: string | null,
    readonly source: VmSource,
    readonly sourceRef: string,
    readonly context: CommandContext,
  ) {}
}

export type VmRegistration = { readonly vm: VmRegistered['data']; readonly position: string | null };

/** Forget a VM that has no backups. The result is the position of its removal. @throws DomainError vm_not_found, vm_has_backups */
export class RemoveVm {
  constructor(
    readonly vmId: string,
    readonly context: CommandContext,
  ) {}
}

/** Take note of the disks that a node finds at the VM's source now. Changes nothing when they are those known, or the VM is not registered any more. */
export class ObserveVmDisks {
  constructor(
    readonly vmId: string,
    readonly disks: readonly VmDisk[],
    readonly context: CommandContext,
  ) {}
}

/** Take note of what its node says of whether the VM can be backed up. Changes nothing when it is as known, or the VM is not registered any more. */
export class ObserveVmProblem {
  constructor(
    readonly vmId: string,
    /** null: it can. */
    readonly problem: { readonly code: string; readonly detail: string } | null,
    readonly context: CommandContext,
  ) {}
}
