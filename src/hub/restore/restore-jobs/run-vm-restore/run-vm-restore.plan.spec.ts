import { describe, expect, it } from '@jest/globals';
import { diskPublished, vmRestoreRequested } from '../../../../../test/support/restore-histories.js';
import type { VmRestoreEvent } from '../model/vm-restore.events.js';
import { evolveVmRestore, initialVmRestoreState } from '../model/vm-restore.state.js';
import { planVmRestore } from './run-vm-restore.plan.js';

const at = '2026-11-21T11:00:00.000Z';
const copy = vmRestoreRequested('copy');
const instant = vmRestoreRequested('instant');
const published = [diskPublished(0), diskPublished(1)];
const sent: VmRestoreEvent = { type: 'VmRestoreSentToNode', data: { node_id: 'n1', sent_at: at } };
const completed: VmRestoreEvent = {
  type: 'VmRestoreCompleted',
  data: { uuid: 'u', files: [], changes: [], started: true, start_error: null, completed_at: at },
};
const failed: VmRestoreEvent = { type: 'VmRestoreFailed', data: { stage: 'copying', code: 'c', detail: 'd', failed_at: at } };
const cancelled: VmRestoreEvent = { type: 'VmRestoreCancelled', data: { cancelled_at: at } };
const givenUp: VmRestoreEvent = { type: 'InstantVmGivenUp', data: { given_up_at: at } };
const cleanedUp: VmRestoreEvent = { type: 'VmRestoreCleanedUp', data: { cleaned_up_at: at } };

describe('what a VM restore does next', () => {
  it.each([
    ['nothing, where there is none', [], 'finished'],
    ['publishes the disks', [copy], 'publish_disks'],
    ['publishes the disks that a killed hub has left', [copy, diskPublished(1)], 'publish_disks'],
    ['is sent to the node when all of them are published', [copy, ...published], 'send'],
    ['follows the node once it was sent', [copy, ...published, sent], 'follow'],
    ['takes back what it published when it is completed', [copy, ...published, sent, completed], 'clean_up'],
    ['keeps what it published for an instant VM', [instant, ...published, sent, completed], 'stand'],
    ['cleans up after an instant VM that was given up', [instant, ...published, sent, completed, givenUp], 'clean_up'],
    ['cleans up when failed', [copy, failed], 'clean_up'],
    ['cleans up when an instant one has failed', [instant, ...published, sent, failed], 'clean_up'],
    ['cleans up when cancelled', [copy, ...published, sent, cancelled], 'clean_up'],
    ['nothing, when it is completed and cleaned up', [copy, completed, cleanedUp], 'finished'],
    ['nothing, when an instant VM is gone', [instant, completed, givenUp, cleanedUp], 'finished'],
    ['nothing, when it has failed and is cleaned up', [copy, failed, cleanedUp], 'finished'],
    ['nothing, when it was cancelled and is cleaned up', [copy, cancelled, cleanedUp], 'finished'],
  ] as const)('%s', (_what, history, work) => {
    expect(planVmRestore(history.reduce(evolveVmRestore, initialVmRestoreState))).toBe(work);
  });
});
