import { describe, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { minute, mountFailed, mountReady, mountRequested, released, unmounting } from '../../../../../test/support/mount-histories.js';
import type { RestoreMountEvent } from './restore-mount.events.js';
import { evolveRestoreMount, initialRestoreMountState } from './restore-mount.state.js';
import { decideRecordMount, type RecordMount } from './record-mount.decide.js';

const { given } = specificationOf({ initialState: initialRestoreMountState, evolve: evolveRestoreMount, decide: decideRecordMount });

const becomeReady: RecordMount = { kind: 'ready', data: mountReady.data };
const fail: RecordMount = { kind: 'failed', data: mountFailed.data };
const use = (expires: number) => ({ kind: 'accessed' as const, data: { accessed_at: minute(5), expires_at: minute(expires) } });
const used = (expires: number): RestoreMountEvent => ({ type: 'MountAccessed', data: use(expires).data });
const abandon = { kind: 'abandoned' as const, data: { operation: 'list_files', detail: 'd', abandoned_at: minute(5) } };
const unmount: RecordMount = { kind: 'unmount_requested', data: { reason: 'requested', detail: null, requested_at: minute(2) } };
const release: RecordMount = { kind: 'released', data: { forced: false, leftovers: [], released_at: minute(3) } };

const none: readonly RestoreMountEvent[] = [];
const requested = [mountRequested];
const ready = [mountRequested, mountReady];
const failed = [mountRequested, mountFailed];
const leaving = [mountRequested, mountReady, unmounting('requested')];
const gone = [...leaving, released];

describe('a mount', () => {
  it('becomes ready or fails only while it is awaited', () => {
    given(...requested)
      .when(becomeReady)
      .then(mountReady);
    given(...requested)
      .when(fail)
      .then(mountFailed);
    for (const history of [none, ready, failed, leaving, gone]) {
      given(...history)
        .when(becomeReady)
        .then();
      given(...history)
        .when(fail)
        .then();
    }
  });

  it('that is used expires later, and never earlier than it would have', () => {
    given(...ready)
      .when(use(32))
      .then(used(32));
    given(...ready)
      .when(use(31))
      .then();
    given(...ready)
      .when(use(30))
      .then();
    given(...ready, used(40))
      .when(use(40))
      .then();
  });

  it('is used only when it is ready', () => {
    for (const history of [none, requested, failed, leaving, gone]) {
      given(...history)
        .when(use(59))
        .then();
    }
  });

  it('has calls that were given up recorded while the machine may hold parts of it', () => {
    for (const history of [requested, ready, leaving]) {
      given(...history)
        .when(abandon)
        .then({ type: 'MountCallAbandoned', data: abandon.data });
    }
    for (const history of [none, failed, gone]) {
      given(...history)
        .when(abandon)
        .then();
    }
  });

  it('is taken down once, whether it is ready or still awaited', () => {
    given(...requested)
      .when(unmount)
      .then(unmounting('requested'));
    given(...ready)
      .when(unmount)
      .then(unmounting('requested'));
    for (const history of [none, failed, leaving, gone]) {
      given(...history)
        .when(unmount)
        .then();
    }
  });

  it('is gone only after it was to be taken down, and once', () => {
    given(...leaving)
      .when(release)
      .then(released);
    for (const history of [none, requested, ready, failed, gone]) {
      given(...history)
        .when(release)
        .then();
    }
  });
});
