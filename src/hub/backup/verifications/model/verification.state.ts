import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { BootChecked, BootCheckStarted, HealingPrepared, VerificationEvent, VerificationRequested } from './verification.events.js';

export type VerificationState =
  | { readonly status: 'none' }
  | {
      readonly status: 'running' | 'passed' | 'failed' | 'aborted';
      readonly request: VerificationRequested['data'];
      /** The newest attempt to boot; null: none yet. */
      readonly boot: BootCheckStarted['data'] | null;
      readonly boot_verdict: BootChecked['data']['verdict'] | null;
      /** Healings of damaged restore points, in order. */
      readonly healings: readonly HealingPrepared['data'][];
      /** Restore points that could not be healed. */
      readonly unhealed: readonly string[];
    };

export type KnownVerification = Exclude<VerificationState, { status: 'none' }>;

export const initialVerificationState: VerificationState = { status: 'none' };

export function evolveVerification(state: VerificationState, event: VerificationEvent): VerificationState {
  if (event.type === 'VerificationRequested') return { status: 'running', request: event.data, boot: null, boot_verdict: null, healings: [], unhealed: [] };
  if (state.status === 'none') throw new Error(`verification stream begins with ${event.type} instead of VerificationRequested`);
  switch (event.type) {
    case 'HealingPrepared':
      return { ...state, healings: [...state.healings, event.data] };
    case 'HealingFailed':
      return { ...state, unhealed: [...state.unhealed, event.data.backup_id] };
    case 'BootCheckStarted':
      return { ...state, boot: event.data };
    case 'BootChecked':
      return { ...state, boot_verdict: event.data.verdict };
    case 'VerificationPassed':
      return { ...state, status: 'passed' };
    case 'VerificationFailed':
      return { ...state, status: 'failed' };
    case 'VerificationAborted':
      return { ...state, status: 'aborted' };
    default:
      return unknownVariant('verification stream', event);
  }
}

export const verificationDecider = decidersOf<VerificationState, VerificationEvent>(initialVerificationState, evolveVerification);
