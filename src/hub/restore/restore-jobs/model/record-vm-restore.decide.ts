import { unknownVariant } from '../../../../kernel/decider.js';
import { DomainError } from '../../../../kernel/domain-error.js';
import type { DamagedSource } from './restore-job.events.js';
import type { VmRestoreCompleted, VmRestoreDiskPublished, VmRestoreEvent, VmRestoreRequested } from './vm-restore.events.js';
import { type VmDiskPhase, type VmRestoreState, vmRestoreStage } from './vm-restore.state.js';

/** Facts and requests of a VM restore. A fact that arrives after the restore has ended changes nothing. */
export type VmRestoreStep =
  | { readonly kind: 'request'; readonly job: VmRestoreRequested['data'] }
  | ({ readonly kind: 'disk_published' } & VmRestoreDiskPublished['data'])
  | { readonly kind: 'sent'; readonly at: string }
  | { readonly kind: 'sources_verified'; readonly files: number; readonly bytes: number; readonly at: string }
  | { readonly kind: 'sources_damaged'; readonly files: readonly DamagedSource[]; readonly at: string }
  | { readonly kind: 'disk_progressed'; readonly disk_id: number; readonly phase: VmDiskPhase; readonly percent: number }
  | ({ readonly kind: 'completed' } & VmRestoreCompleted['data'])
  | { readonly kind: 'failed'; readonly code: string; readonly detail: string; readonly at: string }
  | { readonly kind: 'cancel'; readonly job_id: string; readonly at: string }
  | { readonly kind: 'give_up'; readonly job_id: string; readonly at: string }
  | { readonly kind: 'cleaned_up'; readonly at: string };

export function decideVmRestore(command: VmRestoreStep, state: VmRestoreState): readonly VmRestoreEvent[] {
  if (command.kind === 'request') return state.status === 'none' ? [{ type: 'VmRestoreRequested', data: command.job }] : [];
  if (command.kind === 'cancel') return decideCancel(command, state);
  if (command.kind === 'give_up') return decideGiveUp(command, state);
  if (state.status === 'none') return [];
  if (command.kind === 'cleaned_up') {
    return state.status === 'running' || state.cleaned_up ? [] : [{ type: 'VmRestoreCleanedUp', data: { cleaned_up_at: command.at } }];
  }
  if (state.status !== 'running') return [];
  switch (command.kind) {
    case 'disk_published': {
      const { disk_id, export_id, uri, published_at } = command;
      return state.uris.has(disk_id) ? [] : [{ type: 'VmRestoreDiskPublished', data: { disk_id, export_id, uri, published_at } }];
    }
    case 'sent':
      return state.sent ? [] : [{ type: 'VmRestoreSentToNode', data: { node_id: state.job.node_id, sent_at: command.at } }];
    case 'sources_verified':
      if (state.sources_checked) return [];
      return [{ type: 'VmRestoreSourcesVerified', data: { files: command.files, bytes: command.bytes, verified_at: command.at } }];
    case 'sources_damaged':
      if (state.sources_checked) return [];
      return [{ type: 'VmRestoreSourcesDamaged', data: { files: command.files, found_at: command.at } }];
    case 'disk_progressed': {
      const { disk_id, phase, percent } = command;
      const known = state.progress.get(disk_id);
      if (phase === 'pending' || (known?.phase === phase && known.percent >= percent)) return [];
      return [{ type: 'VmDiskRestoreProgressed', data: { disk_id, phase, percent } }];
    }
    case 'completed': {
      if (state.job.mode === 'copy' && !state.sources_checked)
        throw new Error(`VM restore ${state.job.job_id} cannot be completed before its sources are checked`);
      const { uuid, files, changes, started, start_error, completed_at } = command;
      return [{ type: 'VmRestoreCompleted', data: { uuid, files, changes, started, start_error, completed_at } }];
    }
    case 'failed':
      return [{ type: 'VmRestoreFailed', data: { stage: vmRestoreStage(state), code: command.code, detail: command.detail, failed_at: command.at } }];
    default:
      return unknownVariant('step of a VM restore', command);
  }
}

/** A running restore can be cancelled. Repeating a cancel changes nothing; any other outcome is final. */
function decideCancel({ job_id, at }: { readonly job_id: string; readonly at: string }, state: VmRestoreState): readonly VmRestoreEvent[] {
  switch (state.status) {
    case 'none':
      throw unknownJob(job_id);
    case 'running':
      return [{ type: 'VmRestoreCancelled', data: { cancelled_at: at } }];
    case 'cancelled':
      return [];
    case 'completed':
    case 'failed':
      throw new DomainError('conflict', 'restore_job_already_ended', `Restore job ${job_id} can no longer be cancelled: it is ${state.status}.`, {
        job_id,
        job_status: state.status,
      });
  }
}

/** Only an instant VM belongs to the hub while it exists. A VM with copied disks belongs to the user. */
function decideGiveUp({ job_id, at }: { readonly job_id: string; readonly at: string }, state: VmRestoreState): readonly VmRestoreEvent[] {
  switch (state.status) {
    case 'none':
      throw unknownJob(job_id);
    case 'running':
      throw new DomainError('conflict', 'restore_job_running', `Restore job ${job_id} is still running. Cancel it instead.`, { job_id });
    case 'failed':
    case 'cancelled':
      return [];
    case 'completed':
      if (state.job.mode === 'copy') {
        throw new DomainError('conflict', 'vm_not_instant', `The VM of restore job ${job_id} has its own disks. Remove it on its hypervisor.`, { job_id });
      }
      return state.given_up ? [] : [{ type: 'InstantVmGivenUp', data: { given_up_at: at } }];
  }
}

function unknownJob(jobId: string): DomainError {
  return new DomainError('not_found', 'restore_job_not_found', `Restore job ${jobId} does not exist.`, { job_id: jobId });
}
