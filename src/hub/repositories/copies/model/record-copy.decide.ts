import type { CopyDamagedV2, CopyEvent, CopyHealed, CopyPlanned, CopyVerified } from './copy.events.js';
import type { CopyState } from './copy.state.js';

/** What the hub observes of a copy. */
export type CopyStep =
  | { readonly kind: 'planned'; readonly data: CopyPlanned['data'] }
  | { readonly kind: 'interrupted'; readonly code: string; readonly detail: string; readonly at: string; readonly progressed: boolean }
  | { readonly kind: 'verified'; readonly data: CopyVerified['data'] }
  /** locked_until: ISO 8601, UTC; null: it is not locked */
  | { readonly kind: 'completed'; readonly at: string; readonly locked_until: string | null }
  | { readonly kind: 'failed'; readonly code: string; readonly detail: string; readonly at: string }
  | { readonly kind: 'removed'; readonly at: string }
  | { readonly kind: 'damaged'; readonly data: CopyDamagedV2['data'] }
  | { readonly kind: 'checked'; readonly verification_id: string; readonly at: string }
  | { readonly kind: 'healed'; readonly data: CopyHealed['data'] };

/** Observations about a copy that has ended meanwhile are not recorded. */
export function decideCopyStep(step: CopyStep, state: CopyState): readonly CopyEvent[] {
  if (state.status === 'none') return [];
  const underWay = state.status === 'pending' || state.status === 'running';
  switch (step.kind) {
    case 'planned':
      return underWay && state.verified === null ? [{ type: 'CopyPlanned', data: step.data }] : [];
    case 'interrupted': {
      const { code, detail, at, progressed } = step;
      // A cause that stays is recorded once, so that a night without the target does not fill the stream.
      if (!underWay || (state.interrupted?.code === code && !progressed)) return [];
      return [{ type: 'CopyInterrupted', data: { code, detail, interrupted_at: at } }];
    }
    case 'verified':
      return state.status === 'running' && state.verified === null ? [{ type: 'CopyVerified', data: step.data }] : [];
    case 'completed': {
      if (state.status !== 'running' || state.verified === null) return [];
      const completed: CopyEvent = { type: 'CopyCompleted', data: { completed_at: step.at } };
      return step.locked_until === null ? [completed] : [completed, { type: 'CopyLocked', data: { locked_until: step.locked_until } }];
    }
    case 'failed':
      return underWay ? [{ type: 'CopyFailed', data: { code: step.code, detail: step.detail, failed_at: step.at } }] : [];
    case 'removed':
      if (state.removed) return [];
      if (state.status === 'deleted') return [{ type: 'CopyFilesRemoved', data: { removed_at: step.at } }];
      return state.status === 'failed' || state.status === 'cancelled' ? [{ type: 'CopyUndone', data: { undone_at: step.at } }] : [];
    case 'damaged':
      return state.status === 'completed' && state.damage === null ? [{ type: 'CopyDamagedV2', data: step.data }] : [];
    case 'checked': {
      const { verification_id, at } = step;
      return state.status === 'completed' && state.damage === null ? [{ type: 'CopyChecked', data: { verification_id, checked_at: at } }] : [];
    }
    case 'healed':
      return state.status === 'completed' && state.damage !== null ? [{ type: 'CopyHealed', data: step.data }] : [];
  }
}
