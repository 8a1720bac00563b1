import { unknownVariant } from '../../kernel/decider.js';
import type { VmEvent, VmRegistered } from './vm.events.js';

export type VmState =
  | { readonly status: 'none' }
  | { readonly status: 'registered'; readonly vm: VmRegistered['data'] }
  /** Its id is never used again. */
  | { readonly status: 'removed' };

export const initialVmState: VmState = { status: 'none' };

export function evolveVm(state: VmState, event: VmEvent): VmState {
  switch (event.type) {
    case 'VmRegistered':
      return { status: 'registered', vm: event.data };
    case 'VmDisksChanged':
      if (state.status !== 'registered') throw new Error(`vm stream has ${event.type} where no VM is registered`);
      return { status: 'registered', vm: { ...state.vm, disks: event.data.disks } };
    case 'VmRemoved':
      return { status: 'removed' };
    default:
      return unknownVariant('vm stream', event);
  }
}
