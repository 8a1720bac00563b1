import { unknownVariant } from '../../kernel/decider.js';
import type { NodeContentDigest, NodeJobReport, NodeQuiesceOutcome, NodeStartBackup } from '../../contract/backup-job.js';
import type { NodeDiskStatus, NodeJobStatus } from '../../contract/words.js';
import type { ImageGraph } from '../../lib/qemu/image-graph.plan.js';

/** The code is stable and snake_case; the detail names disk and cause. */
export interface Failure {
  readonly code: string;
  readonly detail: string;
}

/** A snapshot with all that is needed to read, check and release it after a restart of the node. */
export interface StandingSnapshot {
  /** ISO 8601, UTC: the instant, common to all disks. */
  readonly instant: string;
  readonly disks: readonly SnapshotDisk[];
  /** Absent if quiescing was not requested, or the guest had nothing in flight. */
  readonly quiesce?: NodeQuiesceOutcome;
}

export interface SnapshotDisk {
  readonly disk_key: string;
  /** NBD URI for reading the disk as of the instant. */
  readonly uri: string;
  /** Virtual size in bytes. */
  readonly size_bytes: number;
  /** Identifies all changes of the disk since this instant; null if the source cannot track changes. */
  readonly change_id: string | null;
  /** The disk's image itself, if it does not change until the snapshot is released and can be read without the server; otherwise null or absent. */
  readonly opened?: ImageGraph | null;
  /** Opaque to the job: the source compares it at the end to prove that the disk did not change. */
  readonly witness: string;
}

export interface JobDisk {
  readonly disk_key: string;
  readonly status: NodeDiskStatus;
  readonly bytes_transferred: number;
  readonly total_bytes: number;
  readonly error: Failure | null;
  /** For a copied disk, the digest of the data its copy sent; absent if no copy across a network was needed. */
  readonly content?: NodeContentDigest;
}

export type JobOutcome =
  | { readonly outcome: 'completed' }
  | { readonly outcome: 'failed'; readonly error: Failure; readonly disk_key: string | null }
  | { readonly outcome: 'cancelled' };

/**
 * The phase of a job. `snapshot`: nothing is copied yet, so it can be restarted from the beginning. `transfer`: the snapshot is taken; the state of each copy
 * is read from its process. `release`: the outcome is decided, and processes are being stopped. `done`: nothing of the job is running.
 */
export type JobPhase =
  | { readonly phase: 'snapshot' }
  | { readonly phase: 'transfer'; readonly snapshot: StandingSnapshot }
  | { readonly phase: 'release'; readonly snapshot: StandingSnapshot | null; readonly ending: JobOutcome }
  | { readonly phase: 'done'; readonly snapshot: StandingSnapshot | null; readonly ending: JobOutcome };

/** The persistent record of a job. */
export interface JobRecord {
  readonly format: 1;
  readonly request: NodeStartBackup;
  /** Canonical name of the VM at the source, with at most one unfinished job each. */
  readonly vm_key: string;
  readonly cancel_requested: boolean;
  readonly at: JobPhase;
  readonly disks: readonly JobDisk[];
  /** Sequence numbers are generation * GENERATION_STEP + count, so that a restarted node never reuses a number although not every change is in the journal. */
  readonly generation: number;
  readonly sequence: number;
  /** ISO 8601, UTC; time of the last change. */
  readonly changed_at: string;
}

const GENERATION_STEP = 1_000_000_000;

/** The request as it may be stored: its keys are in separate files. */
export function withoutKeys(request: NodeStartBackup): NodeStartBackup {
  return { ...request, disks: request.disks.map(({ export_key: _, ...disk }) => disk) };
}

/** @param request without keys */
export function newJob(request: NodeStartBackup, vmKey: string, now: string): JobRecord {
  return {
    format: 1,
    request,
    vm_key: vmKey,
    cancel_requested: false,
    at: { phase: 'snapshot' },
    disks: request.disks.map((disk) => ({ disk_key: disk.disk_key, status: 'pending', bytes_transferred: 0, total_bytes: 0, error: null })),
    generation: 1,
    sequence: GENERATION_STEP,
    changed_at: now,
  };
}

/** The record as resumed by a restarted node: its reports are newer than any it sent before. */
export function resumedJob(record: JobRecord, now: string): JobRecord {
  const generation = record.generation + 1;
  return { ...record, generation, sequence: generation * GENERATION_STEP, changed_at: now };
}

export function changed(record: JobRecord, change: Partial<Pick<JobRecord, 'at' | 'disks' | 'cancel_requested'>>, now: string): JobRecord {
  return { ...record, ...change, sequence: record.sequence + 1, changed_at: now };
}

export function withDisk(record: JobRecord, diskKey: string, change: Partial<Omit<JobDisk, 'disk_key'>>): readonly JobDisk[] {
  return record.disks.map((disk) => (disk.disk_key === diskKey ? { ...disk, ...change } : disk));
}

/** The disks once the outcome is known: a disk that has not completed by then has failed, by itself or as a consequence. */
export function disksAtOutcome(record: JobRecord, ending: JobOutcome): readonly JobDisk[] {
  return record.disks.map((disk) => {
    if (disk.status === 'completed' || disk.error !== null) return disk;
    return { ...disk, status: 'failed', error: causeFor(disk.disk_key, ending) };
  });
}

function causeFor(diskKey: string, ending: JobOutcome): Failure {
  switch (ending.outcome) {
    case 'completed':
      return { code: 'transfer_incomplete', detail: `The copy of disk "${diskKey}" did not complete.` };
    case 'cancelled':
      return { code: 'cancelled', detail: 'The backup was cancelled.' };
    case 'failed':
      if (ending.disk_key === null || ending.disk_key === diskKey) return ending.error;
      return { code: 'stopped_with_job', detail: `Stopped because disk "${ending.disk_key}" failed: ${ending.error.code}.` };
    default:
      return unknownVariant('ending of a job', ending);
  }
}

export function isFinished(record: JobRecord): boolean {
  return record.at.phase === 'done';
}

function statusOf(record: JobRecord): NodeJobStatus {
  switch (record.at.phase) {
    case 'snapshot':
      return 'starting';
    case 'transfer':
    case 'release':
      return 'running';
    case 'done':
      return record.at.ending.outcome;
    default:
      return unknownVariant('phase of a job', record.at);
  }
}

/** speed in bytes per second; 0 if unknown. */
export function reportOf(record: JobRecord, speed: number): NodeJobReport {
  const status = statusOf(record);
  const transferred = record.disks.reduce((sum, disk) => sum + disk.bytes_transferred, 0);
  const total = record.disks.reduce((sum, disk) => sum + disk.total_bytes, 0);
  const snapshot = record.at.phase === 'snapshot' ? null : record.at.snapshot;
  const copying = record.at.phase === 'transfer';
  return {
    job_id: record.request.job_id,
    status,
    current_phase: record.at.phase,
    instant: snapshot?.instant ?? null,
    snapshot_released: record.at.phase === 'done',
    bytes_transferred: transferred,
    total_bytes: total,
    transfer_speed_bps: Math.round(speed),
    eta_seconds: copying && speed > 0 ? Math.ceil((total - transferred) / speed) : null,
    progress_percent: percent(record, transferred, total),
    disks: record.disks.map((disk) => ({ ...disk, change_id: snapshot?.disks.find((one) => one.disk_key === disk.disk_key)?.change_id ?? null })),
    error: record.at.phase === 'done' && record.at.ending.outcome === 'failed' ? record.at.ending.error : null,
    ...(snapshot?.quiesce === undefined ? {} : { quiesce: snapshot.quiesce }),
    sequence: record.sequence,
    timestamp: record.changed_at,
  };
}

/** One decimal. Below 100 until everything is copied; 100 for an empty backup that has completed. */
function percent(record: JobRecord, transferred: number, total: number): number {
  const complete = record.disks.every((disk) => disk.status === 'completed');
  if (complete) return 100;
  return total === 0 ? 0 : Math.min(99.9, Math.floor((transferred / total) * 1000) / 10);
}
