import { unknownVariant } from '../../../../kernel/decider.js';
import type { RestoreJobState } from '../model/restore-job.state.js';

/** What has to be done next for a job. Every step may be done twice and looks for what exists before it creates. */
export type RestoreStep = 'make_disks' | 'publish' | 'clean_up' | 'finished';

/** By what is recorded alone: a hub that was killed goes on here. */
export function planRestore(state: RestoreJobState): RestoreStep {
  switch (state.status) {
    case 'none':
      return 'finished';
    case 'running':
      return state.sources_checked && [...state.disks.values()].every((standing) => standing === 'compared') ? 'publish' : 'make_disks';
    case 'completed':
    case 'failed':
    case 'cancelled':
      return state.cleaned_up ? 'finished' : 'clean_up';
    default:
      return unknownVariant('plan of a restore job', state);
  }
}

const NO_SPACE = /no space left|disk quota exceeded|file too large/i;
const NO_RIGHT = /permission denied|read-only file system|operation not permitted/i;

/** What a failed copy means to its user, by what the program said. */
export function copyFailure(tool: string, exitCode: number | null, stderr: string): { readonly code: string; readonly detail: string } {
  const said = stderr.trim().split('\n').slice(-3).join('; ');
  if (NO_SPACE.test(stderr)) return { code: 'target_full', detail: `The target folder's file system ran out of space: ${said}` };
  if (NO_RIGHT.test(stderr)) return { code: 'target_not_writable', detail: `The target folder cannot be written to: ${said}` };
  if (exitCode === 127) return { code: 'tool_missing', detail: `${tool} is not installed on the hub.` };
  return { code: 'copy_failed', detail: `${tool} ended with ${exitCode === null ? 'an unknown code' : `exit code ${exitCode}`}: ${said}` };
}
