import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { restoreRequested } from '../../../../../test/support/restore-histories.js';
import type { RestoreJobEvent } from '../model/restore-job.events.js';
import { evolveRestoreJob, initialRestoreJobState } from '../model/restore-job.state.js';
import { decideCancelRestore } from './cancel-restore.decide.js';

const { given } = specificationOf({ initialState: initialRestoreJobState, evolve: evolveRestoreJob, decide: decideCancelRestore });
const at = '2026-11-21T11:00:00.000Z';
const command = { job_id: 'j1', cancelled_at: at };
const cancelled: RestoreJobEvent = { type: 'RestoreJobCancelled', data: { cancelled_at: at } };
const completed: RestoreJobEvent = { type: 'RestoreJobCompleted', data: { files: [], completed_at: at } };
const failed: RestoreJobEvent = { type: 'RestoreJobFailed', data: { stage: 'copying', code: 'x', detail: '', failed_at: at } };
const cleanedUp: RestoreJobEvent = { type: 'RestoreJobCleanedUp', data: { cleaned_up_at: at } };

describe('cancelling a restore job', () => {
  it('ends one that runs', () => {
    given(restoreRequested).when(command).then(cancelled);
  });

  it('changes nothing the second time, also when it is cleaned up by then', () => {
    given(restoreRequested, cancelled).when(command).then();
    given(restoreRequested, cancelled, cleanedUp).when(command).then();
  });

  it('is refused when it has ended otherwise, and says how', () => {
    given(restoreRequested, completed).when(command).thenRefused('restore_job_already_ended', { job_id: 'j1', job_status: 'completed' });
    given(restoreRequested, failed).when(command).thenRefused('restore_job_already_ended', { job_id: 'j1', job_status: 'failed' });
  });

  it('is refused when there is no such job', () => {
    given().when(command).thenRefused('restore_job_not_found', { job_id: 'j1' });
  });
});
