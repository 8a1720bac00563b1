import { describe, it } from '@jest/globals';
import { histories } from '../../../../../test/support/backup-histories.js';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import type { BackupEvent } from '../model/backup.events.js';
import { evolveBackup, initialBackupState } from '../model/backup.state.js';
import { decideRecordRun, type RecordRun } from './record-run.decide.js';

const { given } = specificationOf({ initialState: initialBackupState, evolve: evolveBackup, decide: decideRecordRun });

const cancelled: BackupEvent = { type: 'BackupCancelled', data: { cancelled_at: 'now' } };
const queued = (waiting_for: 'vm_busy' | 'nbd_ports'): Extract<RecordRun, { kind: 'record-queued' }> => ({ kind: 'record-queued', waiting_for, detail: 'd' });
const fail: RecordRun = { kind: 'fail', stage: null, code: 'c', detail: 'd', failed_at: 'now' };

describe('recording the progress of a backup run', () => {
  it('records the reason why a pending backup waits only when it changes', () => {
    given(...histories.requested)
      .when(queued('vm_busy'))
      .thenTypes('BackupQueued');
    given(...histories.requested, { type: 'BackupQueued', data: { waiting_for: 'vm_busy', detail: 'd' } })
      .when(queued('vm_busy'))
      .then();
    given(...histories.requested, { type: 'BackupQueued', data: { waiting_for: 'vm_busy', detail: 'd' } })
      .when(queued('nbd_ports'))
      .thenTypes('BackupQueued');
    given(...histories.planned)
      .when(queued('nbd_ports'))
      .then();
  });

  it('records nothing for a run that has been cancelled in the meantime', () => {
    const planned = histories.planned[1];
    if (planned?.type !== 'BackupPlannedV2') throw new Error('the history has no plan');
    given(...histories.requested, cancelled)
      .when({ kind: 'record-plan', plan: planned.data, left_out_disks: [] })
      .then();
    given(...histories.copied, cancelled)
      .when({ kind: 'record-sealed', data: { folder: 'f', files: [], manifest_sha256: '', sealed_at: 'now' } })
      .then();
    given(...histories.sealed, cancelled)
      .when({ kind: 'complete', completed_at: 'now' })
      .then();
    given(...histories.copied, cancelled)
      .when(fail)
      .then();
  });

  it('completes only a sealed backup', () => {
    given(...histories.copied)
      .when({ kind: 'complete', completed_at: 'now' })
      .then();
    given(...histories.sealed)
      .when({ kind: 'complete', completed_at: 'now' })
      .thenTypes('BackupCompleted');
  });

  it.each([
    ['queued', histories.requested],
    ['preparing', histories.planned],
    ['preparing', histories.targeted],
    ['snapshot', histories.transferring],
    ['transfer', histories.snapshotTaken],
    ['sealing', histories.copied],
  ] as const)('derives the stage %s of a failure from the progress of the run', (stage, history) => {
    given(...history)
      .when(fail)
      .then({ type: 'BackupFailed', data: { stage, code: 'c', detail: 'd', failed_at: 'now' } });
  });

  it('never fails a completed backup', () => {
    given(...histories.completed)
      .when(fail)
      .then();
  });

  it('records the end of undoing and settling once, and only for runs that have ended', () => {
    const undone: RecordRun = { kind: 'record-undone', undone_at: 'now' };
    const settled: RecordRun = { kind: 'record-settled', outcome: 'discarded' };
    given(...histories.snapshotTaken)
      .when(undone)
      .then();
    given(...histories.snapshotTaken)
      .when(settled)
      .then();
    given(...histories.snapshotTaken, cancelled)
      .when(undone)
      .thenTypes('BackupUndone');
    given(...histories.snapshotTaken, cancelled, { type: 'BackupUndone', data: { undone_at: 'then' } })
      .when(undone)
      .then();
    given(...histories.snapshotTaken, cancelled)
      .when(settled)
      .thenTypes('ChangeTrackingSettled');
    given(...histories.snapshotTaken, cancelled, { type: 'ChangeTrackingSettled', data: { outcome: 'discarded' } })
      .when(settled)
      .then();
  });
});
