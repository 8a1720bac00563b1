import { unknownVariant } from '../../../../kernel/decider.js';
import type { VmRestoreState } from '../model/vm-restore.state.js';

/** What has to be done next. Every step may be done twice and looks for what exists before it creates. */
export type VmRestoreWork = 'publish_disks' | 'send' | 'follow' | 'clean_up' | 'stand' | 'finished';

/** By what is recorded alone: a hub that was killed goes on here. `stand`: an instant VM exists, and nothing is to be done before it is given up. */
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
