import { describe, expect, it } from '@jest/globals';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { restoreRequested } from '../../../../../test/support/restore-histories.js';
import type { RestoreJobEvent } from '../model/restore-job.events.js';
import { evolveRestoreJob, initialRestoreJobState } from '../model/restore-job.state.js';
import { decideRecordRestore, type RecordRestore } from './record-restore.decide.js';

const { given } = specificationOf({ initialState: initialRestoreJobState, evolve: evolveRestoreJob, decide: decideRecordRestore });
const at = '2026-11-21T11:00:00.000Z';
const damage = [{ backup_id: 'b1', file: 'f/disk-0.qcow2', detail: 'd' }];

const started: RestoreJobEvent = { type: 'DiskRestoreStarted', data: { disk_id: 0, started_at: at } };
const copied: RestoreJobEvent = { type: 'DiskRestoreCopied', data: { disk_id: 0, copied_at: at } };
const compared: RestoreJobEvent = { type: 'DiskRestoreCompared', data: { disk_id: 0, compared_at: at } };
const verified: RestoreJobEvent = { type: 'RestoreSourcesVerified', data: { files: 1, bytes: 600, verified_at: at } };
const damaged: RestoreJobEvent = { type: 'RestoreSourcesDamaged', data: { files: damage, found_at: at } };
const completed: RestoreJobEvent = { type: 'RestoreJobCompleted', data: { files: ['/srv/restore/pgtest1-disk0.raw'], completed_at: at } };
const failed = (stage: 'copying' | 'checking' | 'publishing'): RestoreJobEvent => ({
  type: 'RestoreJobFailed',
  data: { stage, code: 'c', detail: 'd', failed_at: at },
});
const cancelled: RestoreJobEvent = { type: 'RestoreJobCancelled', data: { cancelled_at: at } };
const cleanedUp: RestoreJobEvent = { type: 'RestoreJobCleanedUp', data: { cleaned_up_at: at } };

const ofDisk = (kind: 'disk_started' | 'disk_copied' | 'disk_compared', diskId = 0): RecordRestore => ({ kind, disk_id: diskId, at });
const progress: RecordRestore = { kind: 'disk_progressed', disk_id: 0, percent: 40 };
const verify: RecordRestore = { kind: 'sources_verified', files: 1, bytes: 600, at };
const findDamage: RecordRestore = { kind: 'sources_damaged', files: damage, at };
const complete: RecordRestore = { kind: 'completed', files: ['/srv/restore/pgtest1-disk0.raw'], at };
const fail: RecordRestore = { kind: 'failed', code: 'c', detail: 'd', at };
const cleanUp: RecordRestore = { kind: 'cleaned_up', at };

describe('a disk of a restore job', () => {
  it('is started, copied and compared in this order, each once', () => {
    given(restoreRequested).when(ofDisk('disk_started')).then(started);
    given(restoreRequested, started).when(ofDisk('disk_copied')).then(copied);
    given(restoreRequested, started, copied).when(ofDisk('disk_compared')).then(compared);
  });

  it('takes no step twice, and skips none', () => {
    given(restoreRequested, started).when(ofDisk('disk_started')).then();
    given(restoreRequested).when(ofDisk('disk_copied')).then();
    given(restoreRequested, started, copied).when(ofDisk('disk_copied')).then();
    given(restoreRequested).when(ofDisk('disk_compared')).then();
    given(restoreRequested, started).when(ofDisk('disk_compared')).then();
    given(restoreRequested, started, copied, compared).when(ofDisk('disk_compared')).then();
    given(restoreRequested, started, copied, compared).when(ofDisk('disk_started')).then();
  });

  it('makes progress only while it is copied', () => {
    given(restoreRequested, started)
      .when(progress)
      .then({ type: 'DiskRestoreProgressed', data: { disk_id: 0, percent: 40 } });
    given(restoreRequested).when(progress).then();
    given(restoreRequested, started, copied).when(progress).then();
  });

  it('that the job does not have is not recorded', () => {
    given(restoreRequested).when(ofDisk('disk_started', 7)).then();
  });
});

describe('a restore job', () => {
  it('has its sources checked once, with one result', () => {
    given(restoreRequested).when(verify).then(verified);
    given(restoreRequested).when(findDamage).then(damaged);
    for (const known of [verified, damaged]) {
      given(restoreRequested, known).when(verify).then();
      given(restoreRequested, known).when(findDamage).then();
    }
  });

  it('is completed when every disk is compared and the sources are checked, sound or damaged', () => {
    given(restoreRequested, started, copied, compared, verified).when(complete).then(completed);
    given(restoreRequested, damaged, started, copied, compared).when(complete).then(completed);
  });

  it.each([
    ['its sources are not checked', [started, copied, compared]],
    ['a disk is not compared', [started, copied, verified]],
    ['a disk is not started', [verified]],
  ])('never ends as completed while %s', (_what, history) => {
    const state = [restoreRequested, ...history].reduce(evolveRestoreJob, initialRestoreJobState);
    expect(() => decideRecordRestore(complete, state)).toThrow('cannot be completed before everything is checked');
  });

  it('fails in the stage that it has reached', () => {
    given(restoreRequested, verified, started).when(fail).then(failed('copying'));
    given(restoreRequested, started, copied, verified).when(fail).then(failed('checking'));
    given(restoreRequested, started, copied, compared).when(fail).then(failed('checking'));
    given(restoreRequested, started, copied, compared, verified).when(fail).then(failed('publishing'));
  });

  it('records nothing that comes after its end, nor before its request', () => {
    for (const late of [ofDisk('disk_started'), ofDisk('disk_copied'), ofDisk('disk_compared'), progress, verify, findDamage, complete, fail]) {
      for (const end of [completed, failed('copying'), cancelled]) given(restoreRequested, started, end).when(late).then();
      given().when(late).then();
    }
  });

  it('is cleaned up once, after its end', () => {
    for (const end of [completed, failed('copying'), cancelled]) {
      given(restoreRequested, end).when(cleanUp).then(cleanedUp);
      given(restoreRequested, end, cleanedUp).when(cleanUp).then();
    }
    given(restoreRequested).when(cleanUp).then();
    given().when(cleanUp).then();
  });
});
