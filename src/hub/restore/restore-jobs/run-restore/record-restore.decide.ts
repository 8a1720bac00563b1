import { unknownVariant } from '../../../../kernel/decider.js';
import type { DamagedSource, RestoreJobEvent } from '../model/restore-job.events.js';
import { type RestoreJobState, stageOf } from '../model/restore-job.state.js';

/** A fact about a job, to be recorded. A fact that arrives after the job has ended changes nothing. */
export type RecordRestore =
  | { readonly kind: 'disk_started'; readonly disk_id: number; readonly at: string }
  | { readonly kind: 'disk_progressed'; readonly disk_id: number; readonly percent: number }
  | { readonly kind: 'disk_copied'; readonly disk_id: number; readonly at: string }
  | { readonly kind: 'disk_compared'; readonly disk_id: number; readonly at: string }
  | { readonly kind: 'sources_verified'; readonly files: number; readonly bytes: number; readonly at: string }
  | { readonly kind: 'sources_damaged'; readonly files: readonly DamagedSource[]; readonly at: string }
  | { readonly kind: 'completed'; readonly files: readonly string[]; readonly at: string }
  | { readonly kind: 'failed'; readonly code: string; readonly detail: string; readonly at: string }
  | { readonly kind: 'cleaned_up'; readonly at: string };

export function decideRecordRestore(command: RecordRestore, state: RestoreJobState): readonly RestoreJobEvent[] {
  if (state.status === 'none') return [];
  if (command.kind === 'cleaned_up') {
    return state.status === 'running' || state.cleaned_up ? [] : [{ type: 'RestoreJobCleanedUp', data: { cleaned_up_at: command.at } }];
  }
  if (state.status !== 'running') return [];
  switch (command.kind) {
    case 'disk_started':
      return state.disks.get(command.disk_id) === 'pending' ? [{ type: 'DiskRestoreStarted', data: { disk_id: command.disk_id, started_at: command.at } }] : [];
    case 'disk_progressed':
      if (state.disks.get(command.disk_id) !== 'started') return [];
      return [{ type: 'DiskRestoreProgressed', data: { disk_id: command.disk_id, percent: command.percent } }];
    case 'disk_copied':
      return state.disks.get(command.disk_id) === 'started' ? [{ type: 'DiskRestoreCopied', data: { disk_id: command.disk_id, copied_at: command.at } }] : [];
    case 'disk_compared':
      return state.disks.get(command.disk_id) === 'copied'
        ? [{ type: 'DiskRestoreCompared', data: { disk_id: command.disk_id, compared_at: command.at } }]
        : [];
    case 'sources_verified':
      if (state.sources_checked) return [];
      return [{ type: 'RestoreSourcesVerified', data: { files: command.files, bytes: command.bytes, verified_at: command.at } }];
    case 'sources_damaged':
      return state.sources_checked ? [] : [{ type: 'RestoreSourcesDamaged', data: { files: command.files, found_at: command.at } }];
    case 'completed': {
      const ready = state.sources_checked && [...state.disks.values()].every((standing) => standing === 'compared');
      if (!ready) throw new Error(`restore job ${state.job.job_id} cannot be completed before everything is checked`);
      return [{ type: 'RestoreJobCompleted', data: { files: command.files, completed_at: command.at } }];
    }
    case 'failed':
      return [{ type: 'RestoreJobFailed', data: { stage: stageOf(state), code: command.code, detail: command.detail, failed_at: command.at } }];
    default:
      return unknownVariant('record restore', command);
  }
}
