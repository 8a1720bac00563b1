import { describe, expect, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { diskPublished, vmRestoreRequest, vmRestoreRequested } from '../../../../../test/support/restore-histories.js';
import { decideVmRestore, type VmRestoreStep } from './record-vm-restore.decide.js';
import type { VmRestoreEvent } from './vm-restore.events.js';
import { evolveVmRestore, initialVmRestoreState } from './vm-restore.state.js';

const { given } = specificationOf({ initialState: initialVmRestoreState, evolve: evolveVmRestore, decide: decideVmRestore });
const at = '2026-11-21T11:05:00.000Z';
const copy = vmRestoreRequested('copy');
const instant = vmRestoreRequested('instant');
const damage = [{ backup_id: 'b1', file: 'f/disk-0.qcow2', detail: 'd' }];
const ending = { uuid: 'u', files: ['/images/pgtest1-disk0.qcow2'], changes: [], started: true, start_error: null, completed_at: at };

const sent: VmRestoreEvent = { type: 'VmRestoreSentToNode', data: { node_id: 'n1', sent_at: at } };
const verified: VmRestoreEvent = { type: 'VmRestoreSourcesVerified', data: { files: 2, bytes: 1200, verified_at: at } };
const damaged: VmRestoreEvent = { type: 'VmRestoreSourcesDamaged', data: { files: damage, found_at: at } };
const progressed = (diskId: number, phase: 'copying' | 'comparing' | 'completed', percent: number): VmRestoreEvent => ({
  type: 'VmDiskRestoreProgressed',
  data: { disk_id: diskId, phase, percent },
});
const completed: VmRestoreEvent = { type: 'VmRestoreCompleted', data: ending };
const failed = (stage: 'preparing' | 'copying' | 'defining'): VmRestoreEvent => ({
  type: 'VmRestoreFailed',
  data: { stage, code: 'c', detail: 'd', failed_at: at },
});
const cancelled: VmRestoreEvent = { type: 'VmRestoreCancelled', data: { cancelled_at: at } };
const givenUp: VmRestoreEvent = { type: 'InstantVmGivenUp', data: { given_up_at: at } };
const cleanedUp: VmRestoreEvent = { type: 'VmRestoreCleanedUp', data: { cleaned_up_at: at } };

const publish: VmRestoreStep = { kind: 'disk_published', disk_id: 0, export_id: 'e0', uri: 'nbds://h:10100/disk0', published_at: '2026-11-21T11:01:00.000Z' };
const send: VmRestoreStep = { kind: 'sent', at };
const verify: VmRestoreStep = { kind: 'sources_verified', files: 2, bytes: 1200, at };
const findDamage: VmRestoreStep = { kind: 'sources_damaged', files: damage, at };
const progress = (phase: 'pending' | 'copying' | 'comparing' | 'completed', percent: number, diskId = 0): VmRestoreStep => ({
  kind: 'disk_progressed',
  disk_id: diskId,
  phase,
  percent,
});
const complete: VmRestoreStep = { kind: 'completed', ...ending };
const fail: VmRestoreStep = { kind: 'failed', code: 'c', detail: 'd', at };
const cancel: VmRestoreStep = { kind: 'cancel', job_id: 'j1', at };
const giveUp: VmRestoreStep = { kind: 'give_up', job_id: 'j1', at };
const cleanUp: VmRestoreStep = { kind: 'cleaned_up', at };

describe('a VM restore', () => {
  it('is requested once', () => {
    given()
      .when({ kind: 'request', job: vmRestoreRequest('copy') })
      .then(copy);
    given(copy, cancelled)
      .when({ kind: 'request', job: vmRestoreRequest('copy') })
      .then();
  });

  it('publishes each disk once, and is sent to its node once', () => {
    given(copy).when(publish).then(diskPublished(0));
    given(copy, diskPublished(1)).when(publish).then(diskPublished(0));
    given(copy, diskPublished(0))
      .when({ ...publish, uri: 'nbds://h:10101/other' })
      .then();
    given(copy, diskPublished(0), diskPublished(1)).when(send).then(sent);
    given(copy, diskPublished(0), diskPublished(1), sent).when(send).then();
  });

  it('has its sources checked once, with one result', () => {
    given(copy).when(verify).then(verified);
    given(copy).when(findDamage).then(damaged);
    for (const known of [verified, damaged]) {
      given(copy, known).when(verify).then();
      given(copy, known).when(findDamage).then();
    }
  });

  it('records progress of a disk when it gets on, or enters another phase', () => {
    given(copy, sent)
      .when(progress('copying', 0))
      .then(progressed(0, 'copying', 0));
    given(copy, sent, progressed(0, 'copying', 40))
      .when(progress('copying', 41))
      .then(progressed(0, 'copying', 41));
    given(copy, sent, progressed(0, 'copying', 40))
      .when(progress('comparing', 0))
      .then(progressed(0, 'comparing', 0));
    given(copy, sent, progressed(0, 'copying', 40))
      .when(progress('copying', 40, 1))
      .then(progressed(1, 'copying', 40));
  });

  it('records no progress of a disk that waits, that stands still, or that is reported late', () => {
    given(copy, sent).when(progress('pending', 0)).then();
    given(copy, sent, progressed(0, 'copying', 40))
      .when(progress('copying', 40))
      .then();
    given(copy, sent, progressed(0, 'copying', 40))
      .when(progress('copying', 39))
      .then();
  });

  it('is completed when its sources were checked, sound or damaged', () => {
    given(copy, sent, verified).when(complete).then(completed);
    given(copy, sent, damaged).when(complete).then(completed);
  });

  it('never ends as completed with disks that were copied from unchecked sources', () => {
    const state = [copy, sent].reduce(evolveVmRestore, initialVmRestoreState);
    expect(() => decideVmRestore(complete, state)).toThrow('cannot be completed before its sources are checked');
  });

  it('is completed at once when it is instant: nothing was copied that could be unsound', () => {
    given(instant, sent).when(complete).then(completed);
  });

  it('fails in the stage that it has reached', () => {
    given(copy).when(fail).then(failed('preparing'));
    given(copy, diskPublished(0), diskPublished(1)).when(fail).then(failed('preparing'));
    given(copy, sent).when(fail).then(failed('copying'));
    given(copy, sent, progressed(0, 'completed', 100), progressed(1, 'comparing', 100))
      .when(fail)
      .then(failed('copying'));
    given(copy, sent, progressed(0, 'completed', 100), progressed(1, 'completed', 100))
      .when(fail)
      .then(failed('defining'));
  });

  it('records nothing that comes after its end, nor before its request', () => {
    for (const late of [publish, send, verify, findDamage, progress('copying', 1), complete, fail]) {
      for (const end of [completed, failed('copying'), cancelled]) given(copy, end).when(late).then();
      given().when(late).then();
    }
  });

  it('is cleaned up once, after its end', () => {
    for (const end of [completed, failed('copying'), cancelled]) {
      given(copy, end).when(cleanUp).then(cleanedUp);
      given(copy, end, cleanedUp).when(cleanUp).then();
    }
    given(copy).when(cleanUp).then();
    given().when(cleanUp).then();
  });
});

describe('cancelling a VM restore', () => {
  it('ends one that runs, and changes nothing the second time', () => {
    given(copy).when(cancel).then(cancelled);
    given(copy, cancelled).when(cancel).then();
    given(copy, cancelled, cleanedUp).when(cancel).then();
  });

  it('is refused when it has ended otherwise, or was never requested', () => {
    given(copy, completed).when(cancel).thenRefused('restore_job_already_ended', { job_id: 'j1', job_status: 'completed' });
    given(copy, failed('copying')).when(cancel).thenRefused('restore_job_already_ended', { job_id: 'j1', job_status: 'failed' });
    given().when(cancel).thenRefused('restore_job_not_found', { job_id: 'j1' });
  });
});

describe('giving an instant VM up', () => {
  it('is recorded once', () => {
    given(instant, completed).when(giveUp).then(givenUp);
    given(instant, completed, givenUp).when(giveUp).then();
    given(instant, completed, givenUp, cleanedUp).when(giveUp).then();
  });

  it("is refused for a VM that has its own disks: those are the user's", () => {
    given(copy, completed).when(giveUp).thenRefused('vm_not_instant', { job_id: 'j1' });
  });

  it('is refused while the job runs, and where there is none', () => {
    given(instant).when(giveUp).thenRefused('restore_job_running', { job_id: 'j1' });
    given(copy).when(giveUp).thenRefused('restore_job_running', { job_id: 'j1' });
    given().when(giveUp).thenRefused('restore_job_not_found', { job_id: 'j1' });
  });

  it('changes nothing where there is no VM, because the job has failed or was cancelled', () => {
    given(instant, failed('defining')).when(giveUp).then();
    given(instant, cancelled).when(giveUp).then();
  });
});
