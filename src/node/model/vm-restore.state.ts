import { unknownVariant } from '../../kernel/decider.js';
import type { NodeDefinitionChange } from '../../contract/vm-definition.js';
import type { NodeStartVmRestore, NodeVmRestoreReport } from '../../contract/vm-restore.js';
import type { NodeVmRestorePhase, NodeVmRestoreStatus } from '../../contract/words.js';

export type VmRestoreOutcome =
  | { readonly outcome: 'completed' }
  | { readonly outcome: 'failed'; readonly error: { readonly code: string; readonly detail: string } }
  | { readonly outcome: 'cancelled' };

export interface VmRestoreDisk {
  readonly disk_key: string;
  readonly status: 'pending' | 'copying' | 'comparing' | 'completed';
  /** Progress of the copy, 0 to 100; while it runs, its program reports more precisely. */
  readonly percent: number;
  /** Absolute path, once the file has its final name. */
  readonly file: string | null;
}

/** The persistent record of a restore. `working` may be repeated from its start at any time, because each step checks for existing results. */
export interface VmRestoreRecord {
  readonly format: 1;
  readonly request: NodeStartVmRestore;
  readonly phase: 'working' | 'undoing' | 'done';
  /** Set exactly if the phase is not `working`. */
  readonly ending: VmRestoreOutcome | null;
  readonly cancel_requested: boolean;
  /** Intent: the domain may exist from here on. */
  readonly defining: boolean;
  readonly disks: readonly VmRestoreDisk[];
  readonly domain: { readonly name: string; readonly uuid: string } | null;
  readonly changes: readonly NodeDefinitionChange[];
  readonly start_error: { readonly code: string; readonly detail: string } | null;
}

export function newVmRestore(request: NodeStartVmRestore): VmRestoreRecord {
  return {
    format: 1,
    request,
    phase: 'working',
    ending: null,
    cancel_requested: false,
    defining: false,
    disks: request.disks.map(({ disk_key }) => ({ disk_key, status: 'pending', percent: 0, file: null })),
    domain: null,
    changes: [],
    start_error: null,
  };
}

export function withRestoredDisk(record: VmRestoreRecord, diskKey: string, change: Partial<Omit<VmRestoreDisk, 'disk_key'>>): VmRestoreRecord {
  return { ...record, disks: record.disks.map((disk) => (disk.disk_key === diskKey ? { ...disk, ...change } : disk)) };
}

/** percents: of the running copies, by disk key. */
export function vmRestoreReport(record: VmRestoreRecord, percents: ReadonlyMap<string, number>): NodeVmRestoreReport {
  return {
    job_id: record.request.job_id,
    status: statusOf(record),
    phase: phaseOf(record),
    disks: record.disks.map((disk) => ({
      ...disk,
      percent: disk.status === 'copying' ? Math.max(disk.percent, percents.get(disk.disk_key) ?? 0) : disk.percent,
    })),
    domain: record.domain,
    changes: record.changes,
    start_error: record.start_error,
    error: record.phase === 'done' && record.ending?.outcome === 'failed' ? record.ending.error : null,
  };
}

function statusOf({ phase, ending }: VmRestoreRecord): NodeVmRestoreStatus {
  return phase === 'done' && ending !== null ? ending.outcome : 'running';
}

function phaseOf({ phase, disks }: VmRestoreRecord): NodeVmRestorePhase {
  switch (phase) {
    case 'working':
      return disks.every(({ status }) => status === 'completed') ? 'defining' : 'copying';
    case 'undoing':
      return 'undoing';
    case 'done':
      return 'done';
    default:
      return unknownVariant('phase of a VM restore', phase);
  }
}
