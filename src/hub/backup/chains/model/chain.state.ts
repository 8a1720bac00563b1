import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { ChainEvent } from './chain.events.js';

export type ChainState =
  | { readonly status: 'none' }
  | {
      readonly status: 'open';
      readonly vm_id: string;
      readonly repository_id: string;
      /** Oldest first: the full, then the incrementals, each based on the one before. */
      readonly points: readonly string[];
      readonly damaged: readonly string[];
    };

export const initialChainState: ChainState = { status: 'none' };

export function evolveChain(state: ChainState, event: ChainEvent): ChainState {
  if (event.type === 'ChainStarted') {
    return { status: 'open', vm_id: event.data.vm_id, repository_id: event.data.repository_id, points: [event.data.backup_id], damaged: [] };
  }
  if (state.status === 'none') throw new Error(`chain stream begins with ${event.type} instead of ChainStarted`);
  switch (event.type) {
    case 'ChainExtended':
      return { ...state, points: [...state.points, event.data.backup_id] };
    case 'RestorePointRemoved':
      return { ...state, points: state.points.filter((point) => point !== event.data.backup_id) };
    case 'RestorePointDamaged':
      return { ...state, damaged: [...state.damaged, event.data.backup_id] };
    default:
      return unknownVariant('chain stream', event);
  }
}

export const chainDecider = decidersOf<ChainState, ChainEvent>(initialChainState, evolveChain);
