import { DomainError } from '../../../../kernel/domain-error.js';
import { requireLegalVmName } from '../model/vm-name.decide.js';
import type { VmEvent, VmRegistered } from '../model/vm.events.js';
import type { VmState } from '../model/vm.state.js';

export type RegisterVmData = {
  /** The VM as its node describes it. */
  readonly vm: VmRegistered['data'];
  /** Id of another VM with this name; null: none. */
  readonly name_holder: string | null;
  /** The VM already registered with this source; null: none. */
  readonly source_holder: { readonly vm_id: string; readonly name: string } | null;
};

export function decideRegisterVm(command: RegisterVmData, state: VmState): readonly VmEvent[] {
  const { vm, name_holder, source_holder } = command;
  switch (state.status) {
    case 'registered':
      return [];
    case 'removed':
      throw new Error(`VM ${vm.vm_id} was removed; its id is never reused`);
    case 'none':
      break;
  }
  requireLegalVmName(vm.name);
  if (vm.disks.length === 0) {
    throw new DomainError('invalid', 'vm_without_disks', `The node found no disks at "${vm.source_ref}", so there is nothing to back up.`, {
      source_ref: vm.source_ref,
    });
  }
  if (source_holder !== null) {
    throw new DomainError('conflict', 'vm_already_registered', `"${vm.source_ref}" is already registered as VM "${source_holder.name}".`, {
      source_ref: vm.source_ref,
      vm_id: source_holder.vm_id,
      vm_name: source_holder.name,
    });
  }
  if (name_holder !== null) {
    throw new DomainError('conflict', 'vm_name_taken', `A VM named "${vm.name}" already exists. Choose another name.`, { name: vm.name, vm_id: name_holder });
  }
  return [{ type: 'VmRegistered', data: vm }];
}
