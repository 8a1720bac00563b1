import { describe, expect, it } from '@jest/globals';
import { histories } from '../../../../../test/support/backup-histories.js';
import type { BackupEvent } from '../model/backup.events.js';
import { evolveBackup, initialBackupState } from '../model/backup.state.js';
import { type ExportFact, planRun } from './run-backup.plan.js';

const started: ExportFact = { standing: 'started' };
const stopped: ExportFact = { standing: 'stopped', killed: false };
const exited = (exit_code: number | null): ExportFact => ({ standing: 'broken', code: 'export_exited', exit_code, detail: 'exited' });

function steps(history: readonly BackupEvent[], exports: Record<string, ExportFact> = {}, copies_reported = true): string[] {
  const state = history.reduce(evolveBackup, initialBackupState);
  return planRun(state, { exports: new Map(Object.entries(exports)), copies_reported }).map((step) => step.step);
}

const failed: BackupEvent = { type: 'BackupFailed', data: { stage: 'transfer', code: 'x', detail: 'x', failed_at: 'now' } };
const undone: BackupEvent = { type: 'BackupUndone', data: { undone_at: 'now' } };
const settled = (outcome: 'committed' | 'discarded'): BackupEvent => ({ type: 'ChangeTrackingSettled', data: { outcome } });

describe('the next step of a backup', () => {
  it('follows from the recorded events', () => {
    expect(steps(histories.requested)).toEqual(['await_admission']);
    expect(steps(histories.planned)).toEqual(['create_targets']);
    expect(steps(histories.targeted)).toEqual(['start_exports']);
    expect(steps(histories.targeted, { e0: started, e1: { standing: 'requested' } })).toEqual(['start_exports']);
    expect(steps(histories.targeted, { e0: started, e1: started })).toEqual(['request_transfer']);
    expect(steps(histories.snapshotTaken, { e0: started, e1: started })).toEqual(['watch_transfer']);
    expect(steps(histories.copied.slice(0, -1), { e0: started, e1: started })).toEqual(['stop_exports']);
    expect(steps(histories.copied.slice(0, -1), { e0: stopped, e1: stopped })).toEqual(['examine', 'watch_transfer']);
    expect(steps(histories.copied, { e0: started, e1: started })).toEqual(['stop_exports']);
    expect(steps(histories.copied, { e0: stopped, e1: stopped })).toEqual(['seal']);
    expect(steps(histories.sealed, { e0: stopped, e1: stopped })).toEqual(['complete']);
    expect(steps(histories.completed)).toEqual(['settle']);
    expect(steps([...histories.completed, settled('committed')])).toEqual(['finished']);
  });

  it('asks the node again for the digest keys after a restart of the hub, but only if the node has reported digests', () => {
    const digested = histories.copied.map((event): BackupEvent =>
      event.type === 'DiskTransferCompleted' ? { ...event, data: { ...event.data, content_digest: 'c'.repeat(64) } } : event,
    );
    for (const history of [digested, digested.slice(0, -1)]) {
      expect(steps(history, { e0: started, e1: started }, false)).toEqual(['stop_exports']);
      expect(steps(history, { e0: stopped, e1: stopped }, false)).toEqual(['ask_node']);
    }
    expect(steps(digested.slice(0, -1), { e0: stopped, e1: stopped })).toEqual(['examine', 'watch_transfer']);
    expect(steps(digested, { e0: stopped, e1: stopped })).toEqual(['seal']);
    expect(steps(histories.copied, { e0: stopped, e1: stopped }, false)).toEqual(['seal']);
  });

  it('fails a run whose export could not start, or ended unexpectedly while it was needed', () => {
    expect(steps(histories.targeted, { e0: exited(1), e1: started })).toEqual(['fail']);
    expect(steps(histories.snapshotTaken, { e0: started, e1: exited(0) })).toEqual(['fail']);
  });

  it('treats an export that exited with 0 after the copy as stopped, and any other exit as a failure', () => {
    expect(steps(histories.copied, { e0: exited(0), e1: stopped })).toEqual(['seal']);
    expect(steps(histories.copied, { e0: exited(139), e1: stopped })).toEqual(['fail']);
    expect(steps(histories.copied, { e0: exited(null), e1: stopped })).toEqual(['fail']);
  });

  it('never seals a file whose export had to be killed', () => {
    expect(steps(histories.copied, { e0: stopped, e1: { standing: 'stopped', killed: true } })).toEqual(['fail']);
  });

  it('undoes a failed run, and settles it at the node only if the transfer was requested', () => {
    expect(steps([...histories.targeted, failed])).toEqual(['undo']);
    expect(steps([...histories.targeted, failed, undone])).toEqual(['finished']);
    expect(steps([...histories.snapshotTaken, failed])).toEqual(['settle', 'undo']);
    expect(steps([...histories.snapshotTaken, failed, undone])).toEqual(['settle']);
    expect(steps([...histories.snapshotTaken, failed, settled('discarded'), undone])).toEqual(['finished']);
  });
});
