import { Command } from '@nestjs/cqrs';
import type { CommandContext } from '../../../../kernel/command-context.js';
import type { Position } from '../../../../kernel/position.js';
import type { VmDisk, VmRegistered, VmSource } from './vm.events.js';

/**
 * Register a VM as its node currently describes it.
 * @throws DomainError vm_name_invalid, vm_name_taken, vm_already_registered, vm_without_disks, vm_not_found_at_node, node_not_found, no_node_registered,
 * node_ambiguous; if the node cannot be queried, node_unreachable, node_silent or node_broken_answer
 */
export class RegisterVm extends Command<VmRegistration> {
  constructor(
    readonly name: string,
    /** null: the only registered node. */
    readonly nodeId: string | null,
    readonly source: VmSource,
    readonly sourceRef: string,
    readonly context: CommandContext,
  ) {
    super();
  }
}

export type VmRegistration = { readonly vm: VmRegistered['data']; readonly position: string | null };

/** Remove a VM that has no backups. The result is the position of its removal. @throws DomainError vm_not_found, vm_has_backups */
export class RemoveVm extends Command<Position | null> {
  constructor(
    readonly vmId: string,
    readonly context: CommandContext,
  ) {
    super();
  }
}

/** Replace the labels of a VM. @throws DomainError vm_not_found */
export class SetVmLabels extends Command<Position | null> {
  constructor(
    readonly vmId: string,
    readonly labels: readonly string[],
    readonly context: CommandContext,
  ) {
    super();
  }
}

/** Record the disks that a node currently finds at the VM's source. Changes nothing if they are already known or the VM is no longer registered. */
export class ObserveVmDisks {
  constructor(
    readonly vmId: string,
    readonly disks: readonly VmDisk[],
    readonly context: CommandContext,
  ) {}
}

/** Record whether the VM can be backed up, as its node reports it. Changes nothing if this is already known or the VM is no longer registered. */
export class ObserveVmProblem {
  constructor(
    readonly vmId: string,
    /** null: the VM can be backed up. */
    readonly problem: { readonly code: string; readonly detail: string } | null,
    readonly context: CommandContext,
  ) {}
}
