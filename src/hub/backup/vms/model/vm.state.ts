import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { VmEvent, VmRegistered } from './vm.events.js';

export type VmState =
  | { readonly status: 'none' }
  /** problem: code of the current problem; null: none. */
  | { readonly status: 'registered'; readonly vm: VmRegistered['data']; readonly problem: string | null; readonly labels: readonly string[] }
  /** The id is never reused. */
  | { readonly status: 'removed' };

export const initialVmState: VmState = { status: 'none' };

export function evolveVm(state: VmState, event: VmEvent): VmState {
  switch (event.type) {
    case 'VmRegistered':
      return { status: 'registered', vm: event.data, problem: null, labels: [] };
    case 'VmDisksChanged':
      if (state.status !== 'registered') throw new Error(`vm stream has ${event.type} where no VM is registered`);
      return { ...state, vm: { ...state.vm, disks: event.data.disks } };
    case 'VmProblemFound':
    case 'VmProblemSolved':
      if (state.status !== 'registered') throw new Error(`vm stream has ${event.type} where no VM is registered`);
      return { ...state, problem: event.type === 'VmProblemFound' ? event.data.code : null };
    case 'VmLabelsSet':
      if (state.status !== 'registered') throw new Error(`vm stream has ${event.type} where no VM is registered`);
      return { ...state, labels: event.data.labels };
    case 'VmRemoved':
      return { status: 'removed' };
    default:
      return unknownVariant('vm stream', event);
  }
}

export const vmDecider = decidersOf<VmState, VmEvent>(initialVmState, evolveVm);
