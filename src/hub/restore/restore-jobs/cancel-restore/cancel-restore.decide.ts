import { DomainError } from '../../../../kernel/domain-error.js';
import type { RestoreJobEvent } from '../model/restore-job.events.js';
import type { RestoreJobState } from '../model/restore-job.state.js';

export type CancelRestoreAt = { readonly job_id: string; readonly cancelled_at: string };

/** A running job can be cancelled. Repeating a cancel changes nothing; any other outcome is final. */
export function decideCancelRestore(command: CancelRestoreAt, state: RestoreJobState): readonly RestoreJobEvent[] {
  switch (state.status) {
    case 'none':
      throw new DomainError('not_found', 'restore_job_not_found', `Restore job ${command.job_id} does not exist.`, { job_id: command.job_id });
    case 'running':
      return [{ type: 'RestoreJobCancelled', data: { cancelled_at: command.cancelled_at } }];
    case 'cancelled':
      return [];
    case 'completed':
    case 'failed':
      throw new DomainError('conflict', 'restore_job_already_ended', `Restore job ${command.job_id} can no longer be cancelled: it is ${state.status}.`, {
        job_id: command.job_id,
        job_status: state.status,
      });
  }
}
