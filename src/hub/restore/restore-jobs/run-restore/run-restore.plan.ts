import { unknownVariant } from '../../../../kernel/decider.js';
import type { RestoreJobState } from '../model/restore-job.state.js';

/** The next step of a job. Every step is idempotent and checks for existing results first. */
export type RestoreStep = 'make_disks' | 'publish' | 'clean_up' | 'finished';

/** Decides from recorded events alone, so that a hub continues here after a crash. */
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

/** Classifies a failed copy by its exit code and standard error. */
export function copyFailure(tool: string, exitCode: number | null, stderr: string): { readonly code: string; readonly detail: string } {
  const said = stderr.trim().split('\n').slice(-3).join('; ');
  if (NO_SPACE.test(stderr)) return { code: 'target_full', detail: `The file system of the target directory ran out of space: ${said}` };
  if (NO_RIGHT.test(stderr)) return { code: 'target_not_writable', detail: `The target directory is not writable: ${said}` };
  if (exitCode === 127) return { code: 'tool_missing', detail: `${tool} is not installed on the hub.` };
  return { code: 'copy_failed', detail: `${tool} ended with ${exitCode === null ? 'an unknown exit code' : `exit code ${exitCode}`}: ${said}` };
}
