/**
 * What hub and node say to each other: bodies of the node's own API and of the telemetry it pushes to the hub.
 * Both sides validate what they receive; a body that does not fit is a broken peer, not a fact.
 */

/** GET /api/v1/health */
export interface NodeHealth {
  readonly status: 'ok';
  readonly node_id: string;
  readonly version: string;
  /** ISO 8601, UTC, by the node's clock. */
  readonly time: string;
  readonly active_jobs: number;
}

export interface NodeDisk {
  /** From 0. */
  readonly disk_id: number;
  /** Stable name of the disk at its source; for `image` the file's name. */
  readonly disk_key: string;
  /** Virtual size in bytes. */
  readonly size_bytes: number;
  readonly format: 'qcow2' | 'raw';
  readonly path: string;
  /** True for formats that carry persistent bitmaps. */
  readonly change_tracking: boolean;
  /** Change ids that are valid at the source now. */
  readonly change_ids: readonly string[];
  /** Change ids that exist but cannot be trusted (the image was not closed cleanly while they recorded). */
  readonly broken_change_ids: readonly string[];
  /** Why this disk cannot be backed up just now; null when it can. */
  readonly problem: { readonly code: string; readonly detail: string } | null;
}

export interface NodeVm {
  readonly name: string;
  readonly source: 'image';
  /** What the node calls the VM; for `image` the absolute path of its folder. */
  readonly source_ref: string;
  readonly disks: readonly NodeDisk[];
}

/** GET /api/v1/vms, optionally ?source_ref=<one VM> */
export interface NodeVmList {
  readonly vms: readonly NodeVm[];
}

/** POST /api/v1/backup/start. Idempotent by job_id: a second call answers with the job as it stands. */
export interface NodeStartBackup {
  readonly job_id: string;
  readonly hub_id: string;
  readonly vm: { readonly vm_id: string; readonly name: string; readonly source: 'image'; readonly source_ref: string };
  /** `<disk_key>:nbd://<host>:<port>/<export_name>,...`; disk keys are percent-encoded as by encodeURIComponent, so that `:` and `,` in them do no harm. */
  readonly nbd_targets_string: string;
  readonly disks: readonly {
    readonly disk_key: string;
    /** Virtual size the target was made for; another size at the source fails the job with disk_resized. */
    readonly size_bytes: number;
    /** null: full. */
    readonly parent_change_id: string | null;
  }[];
}

export type NodeJobStatus = 'starting' | 'running' | 'completed' | 'failed' | 'cancelled';
export type NodeDiskStatus = 'pending' | 'running' | 'completed' | 'failed';

/** GET /api/v1/backup/{job_id}, and the body of POST /telemetry/backup/{job_id} at the hub. The whole truth of the job each time, so one may get lost. */
export interface NodeJobReport {
  readonly job_id: string;
  readonly status: NodeJobStatus;
  /** `snapshot`, `transfer`, `release`, `done` */
  readonly current_phase: string;
  /** The one instant of all disks; null before the snapshot stands. ISO 8601, UTC. */
  readonly instant: string | null;
  /** True once the servers that read the source are gone and its disks are free again. A job's terminal status is reported only then. */
  readonly snapshot_released: boolean;
  readonly bytes_transferred: number;
  readonly total_bytes: number;
  readonly transfer_speed_bps: number;
  readonly eta_seconds: number | null;
  readonly progress_percent: number;
  readonly disks: readonly {
    readonly disk_key: string;
    readonly status: NodeDiskStatus;
    readonly bytes_transferred: number;
    /** Bytes that this backup moves for the disk: allocated (full) or changed (incremental). */
    readonly total_bytes: number;
    /** The change id that names "everything since this backup's instant"; null where the source cannot track. */
    readonly change_id: string | null;
    readonly error: { readonly code: string; readonly detail: string } | null;
  }[];
  readonly error: { readonly code: string; readonly detail: string } | null;
  /** Grows with every change of the job; an older report never overwrites a newer one. */
  readonly sequence: number;
  readonly timestamp: string;
}

/**
 * POST /api/v1/backup/{job_id}/settle, once the hub has sealed or given up the run. Stops the job if it still runs (then only with `discarded`), removes
 * every change id of this hub (`sendense-<first 8 of hub_id>-...`) on the VM's disks that is not in keep_change_ids, and forgets the job. Idempotent,
 * also for a job the node has never heard of. Answer: {"settled": true}.
 */
export interface NodeSettleBackup {
  readonly hub_id: string;
  readonly outcome: 'committed' | 'discarded';
  readonly vm: { readonly source: 'image'; readonly source_ref: string };
  readonly keep_change_ids: readonly string[];
}

/** Name of the change id (QCOW2 bitmap) that a backup job sets at its instant. */
export function changeIdOf(hubId: string, jobId: string): string {
  return `${changeIdPrefix(hubId)}${jobId}`;
}

export function changeIdPrefix(hubId: string): string {
  return `sendense-${hubId.slice(0, 8)}-`;
}
