import type { CopyForm } from '../model/copy.events.js';
import type { CopyState } from '../model/copy.state.js';

export type CopyWork = 'nothing' | 'plan' | 'transfer' | 'seal' | 'remove_partial' | 'remove_files';

/** What a copy needs next, from what is recorded. */
export function nextCopyWork(state: CopyState): CopyWork {
  switch (state.status) {
    case 'none':
    case 'completed':
      return 'nothing';
    case 'pending':
      return 'plan';
    case 'running':
      return state.verified === null ? 'transfer' : 'seal';
    case 'failed':
    case 'cancelled':
      return state.removed ? 'nothing' : 'remove_partial';
    case 'deleted':
      return state.removed ? 'nothing' : 'remove_files';
  }
}

/** The parent's copy in the repository that receives the copy. */
export type ParentAtTarget = 'complete' | 'under_way' | 'absent';

/**
 * Parents come first; without its parent, a restore point is flattened.
 * @param parent null: the restore point has none
 * @returns `wait`: for the copy of the parent
 */
export function formOfCopy(parent: ParentAtTarget | null): CopyForm | 'wait' {
  switch (parent) {
    case null:
    case 'complete':
      return 'identical';
    case 'absent':
      return 'flattened';
    case 'under_way':
      return 'wait';
  }
}

/** Facts about a failed attempt. */
export type CopyTrouble = {
  /** Whether another attempt can end otherwise. */
  readonly passing: boolean;
  /** Since when this cause has prevented progress, milliseconds since 1970; null: it is new. */
  readonly since_ms: number | null;
  readonly now_ms: number;
  readonly patience_ms: number;
};

/** A cause that may pass is waited out, but not forever. */
export function isCopyGivenUp({ passing, since_ms, now_ms, patience_ms }: CopyTrouble): boolean {
  return !passing || (since_ms !== null && now_ms - since_ms >= patience_ms);
}
