import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { CopyDamagedV2, CopyEvent, CopyExpired, CopyInterrupted, CopyPlanned, CopyRequested, CopyVerified } from './copy.events.js';

export type CopyStatus = 'pending' | 'running' | 'completed' | 'failed' | 'cancelled' | 'deleted';

export type CopyState =
  | { readonly status: 'none' }
  | {
      readonly status: CopyStatus;
      readonly request: CopyRequested['data'];
      readonly plan: CopyPlanned['data'] | null;
      readonly verified: CopyVerified['data'] | null;
      /** Why the copy cannot continue now; null: it runs. */
      readonly interrupted: CopyInterrupted['data'] | null;
      /** ISO 8601, UTC; null: it is not locked. */
      readonly locked_until: string | null;
      readonly damage: CopyDamagedV2['data'] | null;
      /** null: it has not expired. */
      readonly expiry: CopyExpired['data'] | null;
      /** Whether nothing of it is left at the target, after a failure, a cancellation or a deletion. */
      readonly removed: boolean;
    };

export type KnownCopy = Exclude<CopyState, { status: 'none' }>;

export const initialCopyState: CopyState = { status: 'none' };

export function evolveCopy(state: CopyState, event: CopyEvent): CopyState {
  if (event.type === 'CopyRequested') {
    return {
      status: 'pending',
      request: event.data,
      plan: null,
      verified: null,
      interrupted: null,
      damage: null,
      locked_until: null,
      expiry: null,
      removed: false,
    };
  }
  if (state.status === 'none') throw new Error(`copy stream begins with ${event.type} instead of CopyRequested`);
  switch (event.type) {
    case 'CopyPlanned':
      return { ...state, status: 'running', plan: event.data, verified: null, interrupted: null };
    case 'CopyInterrupted':
      return { ...state, interrupted: event.data };
    case 'CopyVerified':
      return { ...state, verified: event.data, interrupted: null };
    case 'CopyCompleted':
      return { ...state, status: 'completed', interrupted: null };
    case 'CopyLocked':
      return { ...state, locked_until: event.data.locked_until };
    case 'CopyFailed':
      return { ...state, status: 'failed' };
    case 'CopyCancelled':
      return { ...state, status: 'cancelled' };
    case 'CopyExpired':
      return { ...state, expiry: event.data };
    case 'CopyExpiryWithdrawn':
      return { ...state, expiry: null };
    case 'CopyDeleted':
      return { ...state, status: 'deleted' };
    case 'CopyUndone':
    case 'CopyFilesRemoved':
      return { ...state, removed: true };
    case 'CopyDamaged':
      return { ...state, damage: { ...event.data, ranges: [], verification_id: null } };
    case 'CopyDamagedV2':
      return { ...state, damage: event.data };
    case 'CopyHealed':
      return { ...state, damage: null };
    case 'CopyChecked':
      return state;
    default:
      return unknownVariant('copy stream', event);
  }
}

export const copyDecider = decidersOf<CopyState, CopyEvent>(initialCopyState, evolveCopy);
