import { decidersOf, unknownVariant } from '../../../../kernel/decider.js';
import type { MountFailed, MountReady, MountRequested, RestoreMountEvent, UnmountReason } from './restore-mount.events.js';

type Request = MountRequested['data'];

export type RestoreMountState =
  | { readonly status: 'none' }
  /** Parts of the mount may exist on the machine. */
  | { readonly status: 'requested'; readonly request: Request }
  | { readonly status: 'ready'; readonly request: Request; readonly mount: MountReady['data']; readonly accessed_at: string; readonly expires_at: string }
  | { readonly status: 'failed'; readonly request: Request; readonly failure: MountFailed['data'] }
  /** mount is null if it was never ready. */
  | { readonly status: 'unmounting'; readonly request: Request; readonly mount: MountReady['data'] | null; readonly reason: UnmountReason }
  | { readonly status: 'released'; readonly request: Request; readonly reason: UnmountReason };

export const initialRestoreMountState: RestoreMountState = { status: 'none' };

export function evolveRestoreMount(state: RestoreMountState, event: RestoreMountEvent): RestoreMountState {
  if (event.type === 'MountRequested') return { status: 'requested', request: event.data };
  if (state.status === 'none') throw new Error(`mount stream begins with ${event.type} instead of MountRequested`);
  const { request } = state;
  switch (event.type) {
    case 'MountReady':
      return { status: 'ready', request, mount: event.data, accessed_at: event.data.ready_at, expires_at: event.data.expires_at };
    case 'MountFailed':
      return { status: 'failed', request, failure: event.data };
    case 'MountAccessed':
      return state.status === 'ready' ? { ...state, accessed_at: event.data.accessed_at, expires_at: event.data.expires_at } : state;
    case 'MountCallAbandoned':
      return state;
    case 'UnmountRequested':
      return { status: 'unmounting', request, mount: state.status === 'ready' ? state.mount : null, reason: event.data.reason };
    case 'MountReleased':
      return { status: 'released', request, reason: state.status === 'unmounting' ? state.reason : 'hub_cleanup' };
    default:
      return unknownVariant('mount stream', event);
  }
}

/** True while parts of the mount may exist on the machine. */
export function mayHold(state: RestoreMountState): boolean {
  return state.status === 'requested' || state.status === 'ready' || state.status === 'unmounting';
}

export const restoreMountDecider = decidersOf<RestoreMountState, RestoreMountEvent>(initialRestoreMountState, evolveRestoreMount);
