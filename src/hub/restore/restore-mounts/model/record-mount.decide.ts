import { unknownVariant } from '../../../../kernel/decider.js';
import type { MountAccessed, MountCallAbandoned, MountFailed, MountReady, MountReleased, RestoreMountEvent, UnmountRequested } from './restore-mount.events.js';
import { mayHold, type RestoreMountState } from './restore-mount.state.js';

/** A fact about a mount, to be recorded. A fact that no longer applies to the mount's state changes nothing. */
export type RecordMount =
  | { readonly kind: 'ready'; readonly data: MountReady['data'] }
  | { readonly kind: 'failed'; readonly data: MountFailed['data'] }
  | { readonly kind: 'accessed'; readonly data: MountAccessed['data'] }
  | { readonly kind: 'abandoned'; readonly data: MountCallAbandoned['data'] }
  | { readonly kind: 'unmount_requested'; readonly data: UnmountRequested['data'] }
  | { readonly kind: 'released'; readonly data: MountReleased['data'] };

export function decideRecordMount(command: RecordMount, state: RestoreMountState): readonly RestoreMountEvent[] {
  switch (command.kind) {
    case 'ready':
      return state.status === 'requested' ? [{ type: 'MountReady', data: command.data }] : [];
    case 'failed':
      return state.status === 'requested' ? [{ type: 'MountFailed', data: command.data }] : [];
    case 'accessed':
      return state.status === 'ready' && command.data.expires_at > state.expires_at ? [{ type: 'MountAccessed', data: command.data }] : [];
    case 'abandoned':
      return mayHold(state) ? [{ type: 'MountCallAbandoned', data: command.data }] : [];
    case 'unmount_requested':
      return state.status === 'requested' || state.status === 'ready' ? [{ type: 'UnmountRequested', data: command.data }] : [];
    case 'released':
      return state.status === 'unmounting' ? [{ type: 'MountReleased', data: command.data }] : [];
    default:
      return unknownVariant('record mount', command);
  }
}
