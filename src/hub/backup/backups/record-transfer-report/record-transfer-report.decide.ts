import type { NodeJobReport } from '../../../../contract/backup-job.js';
import type { BackupEvent } from '../model/backup.events.js';
import { type BackupRun, type BackupState, type RunDisk, stageOf } from '../model/backup.state.js';

export type RecordTransferReport = {
  readonly kind: 'record-transfer-report';
  readonly report: NodeJobReport;
  /** Enough time has passed to record progress even if it is less than a step of 10 %. */
  readonly progress_due: boolean;
  /** An export of this backup has ended unexpectedly. A failure at the node is then a consequence, and the run fails by the export. */
  readonly export_ended: boolean;
  readonly now: string;
};

const PROGRESS_STEP = 0.1;

/**
 * Turns the new facts in the node's report into events. Reports may be lost or arrive out of order: each describes the whole job, and known facts are
 * never reverted. A report that contradicts the plan or itself fails the backup.
 */
export function decideRecordTransferReport(command: RecordTransferReport, state: BackupState): readonly BackupEvent[] {
  if (state.status !== 'running' || !state.run.transfer_requested || state.run.snapshot_released) return [];
  const { report, now } = command;
  const { run } = state;
  const contradiction = contradictionIn(report, run);
  if (contradiction !== null) return [failed(run, 'node_inconsistent_report', contradiction, now)];

  const events: BackupEvent[] = [];
  if (run.silent_since !== null) events.push({ type: 'TransferResumed', data: { heard_at: now } });
  if (report.instant !== null && run.instant === null) {
    const changeIds = run.disks.map((disk) => ({ disk_id: disk.planned.disk_id, change_id: reported(report, disk)?.change_id ?? null }));
    events.push({ type: 'SnapshotTaken', data: { instant: report.instant, change_ids: changeIds } });
    if (report.quiesce !== undefined) events.push({ type: 'QuiesceReported', data: { outcome: report.quiesce.outcome, detail: report.quiesce.detail } });
  }
  for (const disk of run.disks) events.push(...diskEvents(disk, report, command.progress_due));
  if (report.snapshot_released) events.push({ type: 'SnapshotReleased', data: { released_at: now } });

  if (report.status === 'failed') {
    if (command.export_ended) return events;
    const cause = report.error ?? { code: 'transfer_failed', detail: 'The node reported a failure without a cause.' };
    const { code, detail } = cause.code === 'target_full' ? repositoryFull(report, run) : cause;
    events.push(failed(run, code, detail, now, report.instant !== null));
  } else if (report.status === 'cancelled') {
    events.push(failed(run, 'cancelled_at_node', 'The node reports the transfer as cancelled, but the hub did not cancel it.', now, report.instant !== null));
  }
  return events;
}

function diskEvents(disk: RunDisk, report: NodeJobReport, progressDue: boolean): BackupEvent[] {
  const account = reported(report, disk);
  const known = disk.transfer;
  if (account === undefined || account.status === 'pending' || known.status === 'completed' || known.status === 'failed') return [];
  const disk_id = disk.planned.disk_id;
  const events: BackupEvent[] = [];
  if (known.status === 'pending') events.push({ type: 'DiskTransferStarted', data: { disk_id, total_bytes: account.total_bytes } });
  if (account.status === 'completed') {
    const content = account.content === undefined ? {} : { content_digest: account.content.digest };
    events.push({ type: 'DiskTransferCompleted', data: { disk_id, bytes_transferred: account.bytes_transferred, ...content } });
  } else if (account.status === 'failed') {
    const cause = account.error ?? { code: 'transfer_failed', detail: 'The node reported a failure without a cause.' };
    events.push({ type: 'DiskTransferFailed', data: { disk_id, code: cause.code, detail: cause.detail } });
  } else {
    const gained = account.bytes_transferred - known.bytes_transferred;
    if (gained > 0 && (progressDue || gained >= account.total_bytes * PROGRESS_STEP)) {
      events.push({
        type: 'DiskTransferProgressed',
        data: { disk_id, bytes_transferred: account.bytes_transferred, total_bytes: account.total_bytes },
      });
    }
  }
  return events;
}

/** The node knows only the address of a target; the person who has to free space needs the path. */
function repositoryFull(report: NodeJobReport, run: BackupRun): { readonly code: string; readonly detail: string } {
  const full = run.disks.find((disk) => reported(report, disk)?.error?.code === 'target_full');
  const what =
    full === undefined ? 'The repository' : `The repository at the file of disk "${full.planned.disk_key}" (${full.target?.qcow2_path ?? 'not created'})`;
  return { code: 'repository_full', detail: `${what} had no space left while the disk was being copied. Free or add space, then start the backup again.` };
}

function contradictionIn(report: NodeJobReport, run: BackupRun): string | null {
  for (const disk of run.disks) {
    if (reported(report, disk) === undefined) return `The node's report does not mention disk "${disk.planned.disk_key}".`;
  }
  if (report.disks.length !== run.disks.length) return `The node reports ${report.disks.length} disks; the backup has ${run.disks.length}.`;
  if (report.status !== 'completed') return null;
  const unfinished = report.disks.find((disk) => disk.status !== 'completed');
  if (unfinished !== undefined) return `The node reports the job as completed, but disk "${unfinished.disk_key}" is ${unfinished.status}.`;
  if (report.instant === null) return 'The node reports the job as completed, but did not report the instant of its snapshot.';
  return report.snapshot_released ? null : 'The node reports the job as completed, but its snapshot has not been released.';
}

function failed(run: BackupRun, code: string, detail: string, now: string, snapshotStood = false): BackupEvent {
  const stage = snapshotStood && run.instant === null ? 'transfer' : stageOf(run);
  return { type: 'BackupFailed', data: { stage, code, detail, failed_at: now } };
}

function reported(report: NodeJobReport, disk: RunDisk): NodeJobReport['disks'][number] | undefined {
  return report.disks.find((account) => account.disk_key === disk.planned.disk_key);
}
