import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { BlackoutEvent, BlackoutSettings } from './blackout.events.js';

export type BlackoutState =
  { readonly status: 'none' | 'deleted' } | { readonly status: 'active'; readonly version: number; readonly settings: BlackoutSettings };

export const initialBlackoutState: BlackoutState = { status: 'none' };

export function evolveBlackout(_state: BlackoutState, event: BlackoutEvent): BlackoutState {
  switch (event.type) {
    case 'BlackoutCreated':
    case 'BlackoutEdited': {
      const { version, settings } = event.data;
      return { status: 'active', version, settings };
    }
    case 'BlackoutDeleted':
      return { status: 'deleted' };
    default:
      return unknownVariant('blackout stream', event);
  }
}

export const blackoutDecider = decidersOf<BlackoutState, BlackoutEvent>(initialBlackoutState, evolveBlackout);
