import { unknownVariant } from '../../../../kernel/decider.js';
import type { VmRestoreState } from '../model/vm-restore.state.js';

/** The next step of a VM restore. Every step is idempotent and checks for existing results first. */
export type VmRestoreWork = 'publish_disks' | 'send' | 'follow' | 'clean_up' | 'stand' | 'finished';

/**
 * Decides from recorded events alone, so that a hub continues here after a crash. `stand`: an instant VM exists; nothing is due until its removal is requested.
 */
export function planVmRestore(state: VmRestoreState): VmRestoreWork {
  switch (state.status) {
    case 'none':
      return 'finished';
    case 'running':
      if (state.job.disks.some(({ disk_id }) => !state.uris.has(disk_id))) return 'publish_disks';
      return state.sent ? 'follow' : 'send';
    case 'completed':
      if (state.cleaned_up) return 'finished';
      return state.job.mode === 'instant' && !state.given_up ? 'stand' : 'clean_up';
    case 'failed':
    case 'cancelled':
      return state.cleaned_up ? 'finished' : 'clean_up';
    default:
      return unknownVariant('plan of a VM restore', state);
  }
}
