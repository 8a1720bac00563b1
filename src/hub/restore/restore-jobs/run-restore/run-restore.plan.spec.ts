import { describe, expect, it } from '@jest/globals';
import { restoreRequested as requested } from '../../../../../test/support/restore-histories.js';
import type { RestoreJobEvent } from '../model/restore-job.events.js';
import { evolveRestoreJob, initialRestoreJobState } from '../model/restore-job.state.js';
import { copyFailure, planRestore } from './run-restore.plan.js';

const at = '2026-11-21T11:00:00.000Z';
const copied: readonly RestoreJobEvent[] = [
  { type: 'DiskRestoreStarted', data: { disk_id: 0, started_at: at } },
  { type: 'DiskRestoreCopied', data: { disk_id: 0, copied_at: at } },
];
const compared: RestoreJobEvent = { type: 'DiskRestoreCompared', data: { disk_id: 0, compared_at: at } };
const verified: RestoreJobEvent = { type: 'RestoreSourcesVerified', data: { files: 1, bytes: 1, verified_at: at } };
const completed: RestoreJobEvent = { type: 'RestoreJobCompleted', data: { files: [], completed_at: at } };
const failed: RestoreJobEvent = { type: 'RestoreJobFailed', data: { stage: 'copying', code: 'x', detail: '', failed_at: at } };
const cancelled: RestoreJobEvent = { type: 'RestoreJobCancelled', data: { cancelled_at: at } };
const cleanedUp: RestoreJobEvent = { type: 'RestoreJobCleanedUp', data: { cleaned_up_at: at } };

const stateOf = (...history: readonly RestoreJobEvent[]) => history.reduce(evolveRestoreJob, initialRestoreJobState);

describe('the next step of a restore job', () => {
  it.each([
    ['makes the disks', [requested], 'make_disks'],
    ['continues making them after a crash', [requested, ...copied], 'make_disks'],
    ['does not publish before the comparison', [requested, ...copied, verified], 'make_disks'],
    ['does not publish before the sources are checked', [requested, ...copied, compared], 'make_disks'],
    ['publishes the files', [requested, ...copied, compared, verified], 'publish'],
    ['cleans up when completed', [requested, ...copied, compared, verified, completed], 'clean_up'],
    ['cleans up when failed', [requested, failed], 'clean_up'],
    ['cleans up when cancelled', [requested, ...copied, cancelled], 'clean_up'],
    ['has finished', [requested, failed, cleanedUp], 'finished'],
  ] as const)('%s', (_what, history, step) => {
    expect(planRestore(stateOf(...history))).toBe(step);
  });

  it.each([
    ['qemu-img: error while writing at byte 4096: No space left on device', 1, 'target_full'],
    ['qemu-img: Could not create /x: Read-only file system', 1, 'target_not_writable'],
    ['', 127, 'tool_missing'],
    ['qemu-img: Could not open backing file', 1, 'copy_failed'],
  ])('classifies a failed copy: %s', (stderr, exitCode, code) => {
    expect(copyFailure('qemu-img', exitCode, stderr)).toMatchObject({ code });
  });
});
