import { describe, expect, it } from '@jest/globals';
import type { NodeStartBackup } from '../../contract/backup-job.js';
import { changed, disksAtOutcome, type JobOutcome, newJob, reportOf, resumedJob, type StandingSnapshot, withDisk } from './job.state.js';

const NOW = '2026-11-21T10:00:00.000Z';
const request: NodeStartBackup = {
  job_id: 'job',
  hub_id: '6f0d2b0e',
  vm: { vm_id: 'vm', name: 'vm', source: 'image', source_ref: '/images/vm' },
  nbd_targets_string: 'a:nbd://h:1/a,b:nbd://h:2/b',
  disks: [
    { disk_key: 'a', size_bytes: 100, parent_change_id: null },
    { disk_key: 'b', size_bytes: 100, parent_change_id: null },
  ],
};
const snapshot: StandingSnapshot = {
  instant: NOW,
  disks: [
    { disk_key: 'a', uri: 'nbd+unix:///?socket=a', size_bytes: 100, change_id: 'sendense-6f0d2b0e-job', opened: null, witness: '' },
    { disk_key: 'b', uri: 'nbd+unix:///?socket=b', size_bytes: 100, change_id: null, opened: null, witness: '' },
  ],
};
const copying = changed(
  newJob(request, '/images/vm', NOW),
  { at: { phase: 'transfer', snapshot }, disks: newJob(request, '/images/vm', NOW).disks.map((disk) => ({ ...disk, total_bytes: 50 })) },
  NOW,
);

describe('the report of a job', () => {
  it('has no instant and no change ids before the snapshot is taken', () => {
    expect(reportOf(newJob(request, '/images/vm', NOW), 0)).toMatchObject({
      status: 'starting',
      current_phase: 'snapshot',
      instant: null,
      snapshot_released: false,
      disks: [{ change_id: null }, { change_id: null }],
    });
  });

  it('contains progress, speed and remaining time, and never 100 % too early', () => {
    const half = { ...copying, disks: withDisk(copying, 'a', { bytes_transferred: 50, status: 'completed' }) };
    expect(reportOf(half, 10)).toMatchObject({
      status: 'running',
      bytes_transferred: 50,
      total_bytes: 100,
      progress_percent: 50,
      transfer_speed_bps: 10,
      eta_seconds: 5,
    });
    const nearly = { ...copying, disks: copying.disks.map((disk) => ({ ...disk, bytes_transferred: 50 })) };
    expect(reportOf(nearly, 10).progress_percent).toBe(99.9);
  });

  it('is terminal only once everything is released', () => {
    const ending: JobOutcome = { outcome: 'failed', error: { code: 'transfer_failed', detail: 'x' }, disk_key: 'b' };
    const releasing = changed(copying, { at: { phase: 'release', snapshot, ending } }, NOW);
    expect(reportOf(releasing, 0)).toMatchObject({ status: 'running', current_phase: 'release', snapshot_released: false, error: null });
    const done = changed(copying, { at: { phase: 'done', snapshot, ending } }, NOW);
    expect(reportOf(done, 0)).toMatchObject({ status: 'failed', current_phase: 'done', snapshot_released: true, error: ending.error });
  });

  it('of a restarted node is newer than any earlier one, although not every change is in the journal', () => {
    const manyChanges = { ...copying, sequence: copying.sequence + 1_000_000 };
    expect(resumedJob(copying, NOW).sequence).toBeGreaterThan(manyChanges.sequence);
  });
});

describe('disks at the end of a job', () => {
  it('of a failed job: the cause on its own disk, stopped_with_job on those that were stopped, and completed ones unchanged', () => {
    const one = { ...copying, disks: withDisk(copying, 'a', { status: 'completed' }) };
    const ending: JobOutcome = { outcome: 'failed', error: { code: 'transfer_failed', detail: 'x' }, disk_key: 'b' };
    expect(disksAtOutcome(one, ending).map((disk) => [disk.status, disk.error?.code])).toEqual([
      ['completed', undefined],
      ['failed', 'transfer_failed'],
    ]);
    expect(disksAtOutcome(copying, ending).map((disk) => disk.error?.code)).toEqual(['stopped_with_job', 'transfer_failed']);
  });
});
