import { describe, expect, it } from '@jest/globals';
import { histories } from '../../../../../test/support/backup-histories.js';
import { specificationOf } from '../../../../../test/support/given-when-then.js';
import { evolveBackup, initialBackupState } from '../model/backup.state.js';
import { decideRecordTransferReport, type RecordTransferReport } from './record-transfer-report.decide.js';

const { given } = specificationOf({ initialState: initialBackupState, evolve: evolveBackup, decide: decideRecordTransferReport });
const now = '2026-01-01T00:00:05.000Z';

type Report = RecordTransferReport['report'];
type Disk = Report['disks'][number];

function disk(disk_key: string, changes: Partial<Disk> = {}): Disk {
  return { disk_key, status: 'pending', bytes_transferred: 0, total_bytes: 500, change_id: 'x', error: null, ...changes };
}

function saying(changes: Partial<Report>, progress_due = false, export_ended = false): RecordTransferReport {
  const report: Report = {
    job_id: 'b1',
    status: 'running',
    current_phase: 'transfer',
    instant: null,
    snapshot_released: false,
    bytes_transferred: 0,
    total_bytes: 1000,
    transfer_speed_bps: 0,
    eta_seconds: null,
    progress_percent: 0,
    disks: [disk('disk0.qcow2'), disk('disk1.qcow2')],
    error: null,
    sequence: 1,
    timestamp: now,
    ...changes,
  };
  return { kind: 'record-transfer-report', report, progress_due, export_ended, now };
}

const done = [disk('disk0.qcow2', { status: 'completed', bytes_transferred: 500 }), disk('disk1.qcow2', { status: 'completed', bytes_transferred: 500 })];

describe('a report of the node on a backup', () => {
  it('names the file in the repository when a target has no space left, because the node knows only its address', () => {
    const error = { code: 'target_full', detail: 'The target of disk "disk1.qcow2" has no space left: nbdcopy: ...' };
    const disks = [disk('disk0.qcow2', { status: 'completed', bytes_transferred: 500 }), disk('disk1.qcow2', { status: 'failed', error })];
    const events = decideRecordTransferReport(saying({ status: 'failed', error, disks }), histories.snapshotTaken.reduce(evolveBackup, initialBackupState));
    expect(events.at(-1)).toMatchObject({
      type: 'BackupFailed',
      data: {
        stage: 'transfer',
        code: 'repository_full',
        detail: expect.stringMatching(/disk "disk1.qcow2" \(\/r\/.partial\/disk-1.qcow2\) had no space left/),
      },
    });
  });

  it('records the instant of all disks with their change ids, once', () => {
    const instant = '2026-01-01T00:00:03.000Z';
    given(...histories.transferring)
      .when(saying({ instant }))
      .then({
        type: 'SnapshotTaken',
        data: {
          instant,
          change_ids: [
            { disk_id: 0, change_id: 'x' },
            { disk_id: 1, change_id: 'x' },
          ],
        },
      });
    given(...histories.snapshotTaken)
      .when(saying({ instant }))
      .then();
  });

  it('records the digest of the sent content, and never its key', () => {
    const content = { key: 'a'.repeat(64), digest: 'b'.repeat(64) };
    const reported = [disk('disk0.qcow2', { status: 'completed', bytes_transferred: 500, content }), disk('disk1.qcow2')];
    const events = decideRecordTransferReport(saying({ disks: reported }), histories.snapshotTaken.reduce(evolveBackup, initialBackupState));
    expect(events).toContainEqual({ type: 'DiskTransferCompleted', data: { disk_id: 0, bytes_transferred: 500, content_digest: content.digest } });
    expect(JSON.stringify(events)).not.toContain(content.key);
  });

  it('records progress in steps of 10 %, and smaller steps only when progress is due', () => {
    const moved = (bytes: number): Disk[] => [disk('disk0.qcow2', { status: 'running', bytes_transferred: bytes }), disk('disk1.qcow2')];
    const started = { type: 'DiskTransferStarted', data: { disk_id: 0, total_bytes: 500 } } as const;
    given(...histories.snapshotTaken, started)
      .when(saying({ disks: moved(49) }))
      .then();
    given(...histories.snapshotTaken, started)
      .when(saying({ disks: moved(49) }, true))
      .thenTypes('DiskTransferProgressed');
    given(...histories.snapshotTaken, started)
      .when(saying({ disks: moved(50) }))
      .thenTypes('DiskTransferProgressed');
  });

  it('never reverts a completed disk', () => {
    given(...histories.copied.slice(0, -1))
      .when(saying({ disks: [disk('disk0.qcow2', { status: 'running', bytes_transferred: 9 }), disk('disk1.qcow2', { status: 'failed' })] }))
      .then();
  });

  it('records everything from one final report when all others were lost', () => {
    given(...histories.transferring)
      .when(saying({ status: 'completed', instant: '2026-01-01T00:00:03.000Z', snapshot_released: true, disks: done }))
      .thenTypes('SnapshotTaken', 'DiskTransferStarted', 'DiskTransferCompleted', 'DiskTransferStarted', 'DiskTransferCompleted', 'SnapshotReleased');
  });

  it('fails the backup with the cause reported by the node', () => {
    const failed = disk('disk0.qcow2', { status: 'failed', error: { code: 'target_full', detail: 'No space left on device' } });
    given(...histories.snapshotTaken)
      .when(
        saying({
          status: 'failed',
          snapshot_released: true,
          disks: [failed, disk('disk1.qcow2')],
          error: { code: 'target_full', detail: 'No space left on device' },
        }),
      )
      .thenTypes('DiskTransferStarted', 'DiskTransferFailed', 'SnapshotReleased', 'BackupFailed');
  });

  it('fails the backup when a job reported as completed has an unfinished disk, no instant, or an unreleased snapshot', () => {
    const instant = '2026-01-01T00:00:03.000Z';
    for (const lie of [
      { instant, snapshot_released: true, disks: [done[0] ?? disk('disk0.qcow2'), disk('disk1.qcow2')] },
      { instant: null, snapshot_released: true, disks: done },
      { instant, snapshot_released: false, disks: done },
    ]) {
      given(...histories.transferring)
        .when(saying({ status: 'completed', ...lie }))
        .thenTypes('BackupFailed');
    }
  });

  it('does not fail the backup itself when an export has ended, because the run fails by the export', () => {
    const lost = disk('disk0.qcow2', { status: 'failed', error: { code: 'transfer_failed', detail: 'connection lost' } });
    given(...histories.snapshotTaken)
      .when(saying({ status: 'failed', snapshot_released: true, error: lost.error, disks: [lost, disk('disk1.qcow2')] }, false, true))
      .thenTypes('DiskTransferStarted', 'DiskTransferFailed', 'SnapshotReleased');
  });

  it('fails the backup when the report lists other disks', () => {
    given(...histories.transferring)
      .when(saying({ disks: [disk('disk0.qcow2'), disk('other.qcow2')] }))
      .thenTypes('BackupFailed');
  });

  it('ignores reports about a backup that is not transferring', () => {
    given(...histories.targeted)
      .when(saying({ status: 'failed' }))
      .then();
    given(...histories.completed)
      .when(saying({ status: 'failed' }))
      .then();
  });

  it('ends a stall when the node reports again', () => {
    given(...histories.snapshotTaken, { type: 'TransferStalled', data: { silent_since: now } })
      .when(saying({}))
      .thenTypes('TransferResumed');
  });
});
