import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { RpoBroken, RpoEvent } from './rpo.events.js';

export type RpoState =
  /** `since` null: no breach was ever recorded. */
  { readonly status: 'unbroken'; readonly since: string | null } | { readonly status: 'broken'; readonly breach: RpoBroken['data'] };

export const initialRpoState: RpoState = { status: 'unbroken', since: null };

export function evolveRpo(_state: RpoState, event: RpoEvent): RpoState {
  switch (event.type) {
    case 'RpoBroken':
      return { status: 'broken', breach: event.data };
    case 'RpoRestored':
      return { status: 'unbroken', since: event.data.restored_at };
    default:
      return unknownVariant('rpo stream', event);
  }
}

export const rpoDecider = decidersOf<RpoState, RpoEvent>(initialRpoState, evolveRpo);
