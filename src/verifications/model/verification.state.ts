import { unknownVariant } from '../../kernel/decider.js';
import type { VerificationEvent, VerificationRequested } from './verification.events.js';

export type VerificationState =
  { readonly status: 'none' } | { readonly status: 'running' | 'passed' | 'failed' | 'aborted'; readonly request: VerificationRequested['data'] };

export const initialVerificationState: VerificationState = { status: 'none' };

export function evolveVerification(state: VerificationState, event: VerificationEvent): VerificationState {
  if (event.type === 'VerificationRequested') return { status: 'running', request: event.data };
  if (state.status === 'none') throw new Error(`verification stream begins with ${event.type} instead of VerificationRequested`);
  switch (event.type) {
    case 'VerificationPassed':
      return { status: 'passed', request: state.request };
    case 'VerificationFailed':
      return { status: 'failed', request: state.request };
    case 'VerificationAborted':
      return { status: 'aborted', request: state.request };
    default:
      return unknownVariant('verification stream', event);
  }
}
