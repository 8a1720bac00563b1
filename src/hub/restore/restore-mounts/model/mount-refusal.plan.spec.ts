import { describe, expect, it } from '@jest/globals';
import { mountFailed, mountReady, mountRequested, released, unmounting } from '../../../../../test/support/mount-histories.js';
import type { RestoreMountEvent } from './restore-mount.events.js';
import { evolveRestoreMount, initialRestoreMountState } from './restore-mount.state.js';
import { accessRefusal, mountFailure } from './mount-refusal.plan.js';

const refusalAfter = (...history: readonly RestoreMountEvent[]) => accessRefusal('m1', history.reduce(evolveRestoreMount, initialRestoreMountState));

describe('the failure of a mount', () => {
  it.each([
    ['partition_not_found', 'not_found'],
    ['restore_point_unreadable', 'conflict'],
    ['filesystem_not_found', 'unprocessable'],
    ['filesystem_encrypted', 'unprocessable'],
    ['filesystem_unsupported', 'unprocessable'],
    ['filesystem_damaged', 'unprocessable'],
    ['mount_timed_out', 'upstream_silent'],
    ['a_cause_of_a_later_version', 'unavailable'],
  ])('%s is refused as %s', (code, kind) => {
    expect(mountFailure('m1', { ...mountFailed.data, code })).toMatchObject({ kind, code });
  });

  it('says what was found on the disk by then', () => {
    const partition = { number: 1, name: 'p1', start_bytes: 0, size_bytes: 1, label: null, filesystem_type: 'ext4', filesystem_label: null };
    const { message, facts } = mountFailure('m1', { ...mountFailed.data, partitions: [partition] });
    expect(message).toContain('the journal is broken');
    expect(facts).toEqual({ mount_id: 'm1', partitions: [partition] });
  });
});

describe('the use of a mount', () => {
  it('is possible when it is ready', () => {
    expect(refusalAfter(mountRequested, mountReady)).toBeNull();
  });

  it.each([
    ['there is none', [], 'not_found', 'mount_not_found'],
    ['it is not ready yet', [mountRequested], 'conflict', 'mount_not_ready'],
    ['nobody had used it and it is being taken down', [mountRequested, mountReady, unmounting('expired')], 'gone', 'mount_expired'],
    ['nobody had used it and it was taken down', [mountRequested, mountReady, unmounting('expired'), released], 'gone', 'mount_expired'],
    ['it is being taken down on request', [mountRequested, mountReady, unmounting('requested')], 'gone', 'mount_released'],
    ['it was taken down on request', [mountRequested, mountReady, unmounting('requested'), released], 'gone', 'mount_released'],
    ['the hub has taken it down', [mountRequested, unmounting('hub_cleanup'), released], 'gone', 'mount_released'],
  ] as const)('is refused when %s', (_what, history, kind, code) => {
    expect(refusalAfter(...history)).toMatchObject({ kind, code, facts: { mount_id: 'm1' } });
  });

  it('is refused when it has failed, with its cause', () => {
    expect(refusalAfter(mountRequested, mountFailed)).toMatchObject({
      kind: 'gone',
      code: 'mount_failed',
      facts: { mount_id: 'm1', failure: 'filesystem_damaged' },
    });
  });
});
