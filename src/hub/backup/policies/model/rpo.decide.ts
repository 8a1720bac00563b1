import type { RpoBroken, RpoEvent, RpoRestored } from './rpo.events.js';
import type { RpoState } from './rpo.state.js';

export type RpoStep =
  | { readonly kind: 'break'; readonly breach: RpoBroken['data'] }
  /** `broken_at` comes from the recorded breach. */
  | { readonly kind: 'restore'; readonly end: Omit<RpoRestored['data'], 'broken_at'> };

/** Each breach begins once and ends once; breaches of a VM do not overlap. */
export function decideRpo(step: RpoStep, state: RpoState): readonly RpoEvent[] {
  switch (step.kind) {
    case 'break': {
      if (state.status === 'broken') return [];
      const { breach } = step;
      const broken_at = state.since !== null && state.since > breach.broken_at ? state.since : breach.broken_at;
      return [{ type: 'RpoBroken', data: { ...breach, broken_at } }];
    }
    case 'restore':
      if (state.status !== 'broken') return [];
      return [{ type: 'RpoRestored', data: { ...step.end, broken_at: state.breach.broken_at } }];
  }
}
