import type { DamagedSource, RestoreStage } from '../../src/hub/restore/restore-jobs/model/restore-job.events.js';
import type { VmRestoreMode, VmRestoreStage } from '../../src/hub/restore/restore-jobs/model/vm-restore.events.js';
import { boolean, instant, json, position, text, type EntityOf, readModel, type RowOf } from '../../src/hub/store/postgres/read-model-definition.js';

export type RestoreJobStatus = 'running' | 'completed' | 'failed' | 'cancelled';

export type RestoreJobDiskRow = {
  readonly disk_id: number;
  readonly disk_key: string;
  readonly virtual_size_bytes: number;
  readonly outputs: readonly string[];
  readonly status: 'pending' | 'copying' | 'comparing' | 'completed';
  /** Progress of the copy, 0 to 100. */
  readonly percent: number;
};

/** The VM that a job creates. */
export type RestoredVmRow = {
  readonly mode: VmRestoreMode;
  readonly node_id: string;
  readonly name: string;
  /** null until the domain is defined. */
  readonly uuid: string | null;
  readonly keep_identity: boolean;
  readonly start: boolean;
  readonly network: 'keep' | 'disconnected' | 'none';
  readonly libvirt_network: string | null;
  readonly started: boolean;
  readonly start_error: { readonly code: string; readonly detail: string } | null;
  /** Settings that could not be kept. */
  readonly changes: readonly { readonly code: string; readonly detail: string }[];
  /** The instant VM was discarded. */
  readonly removed: boolean;
};

export const RestoreJobReadModel = readModel({
  name: 'restore_jobs',
  key: 'job_id',
  columns: {
    job_id: text(),
    kind: text<'disks' | 'vm'>(),
    backup_id: text(),
    vm_id: text(),
    vm_name: text(),
    repository_id: text(),
    target_path: text(),
    format: text<'raw' | 'qcow2' | 'vmdk'>(),
    chain: text<'flattened' | 'chain'>(),
    overwrite: boolean(),
    status: text<RestoreJobStatus>(),
    disks: json<readonly RestoreJobDiskRow[]>().progress((disks) => disks.map((disk) => ({ ...disk, percent: null }))),
    sources_verified: boolean(),
    /** Absolute paths; empty until completed. */
    files: json<readonly string[]>(),
    error: json<{ readonly code: string; readonly stage: RestoreStage | VmRestoreStage; readonly detail: string }>().nullable(),
    /** Set if and only if the kind is `vm`. */
    vm: json<RestoredVmRow>().nullable(),
    cleaned_up: boolean(),
    requested_at: instant(),
    ended_at: instant().nullable(),
    /** Position of RestoreJobRequested: the order in which jobs were requested. */
    created_position: position(),
    /** Source files that differ from what was sealed, in a job that continues anyway. */
    damaged_sources: json<readonly DamagedSource[]>(),
  },
  indexes: ['(created_position)', '(backup_id)', '(cleaned_up)'],
});
export type RestoreJobReadModel = EntityOf<typeof RestoreJobReadModel>;
export type RestoreJobRow = RowOf<typeof RestoreJobReadModel>;
