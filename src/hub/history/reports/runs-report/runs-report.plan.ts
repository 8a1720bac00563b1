import { byText, type ReportContent, type ReportDefinition, type ReportRow } from '../model/report.plan.js';

export const RUNS_REPORT = {
  name: 'runs',
  title: 'Runs of policies',
  version: 1,
  totals: [
    { name: 'runs', heading: 'Runs', unit: 'count' },
    { name: 'started', heading: 'Started on time', unit: 'count' },
    { name: 'caught_up', heading: 'Caught up', unit: 'count' },
    { name: 'skipped', heading: 'Skipped', unit: 'count' },
    { name: 'missed', heading: 'Missed', unit: 'count' },
    { name: 'vms', heading: 'VMs of the runs', unit: 'count' },
    { name: 'completed', heading: 'Completed', unit: 'count' },
    { name: 'not_completed', heading: 'Not completed', unit: 'count' },
    { name: 'unfinished', heading: 'Unfinished', unit: 'count' },
    { name: 'retried', heading: 'Tried again', unit: 'count' },
    { name: 'failures', heading: 'Failed backups', unit: 'count' },
  ],
  tables: [
    {
      name: 'runs',
      heading: 'Runs',
      columns: [
        { name: 'due_at', heading: 'Due', unit: 'time' },
        { name: 'policy', heading: 'Policy', unit: 'text' },
        { name: 'policy_version', heading: 'Version', unit: 'count' },
        { name: 'trigger', heading: 'Trigger', unit: 'text' },
        { name: 'outcome', heading: 'Outcome', unit: 'text' },
        { name: 'reason', heading: 'Reason', unit: 'text' },
        { name: 'detail', heading: 'Detail', unit: 'text' },
        { name: 'vms', heading: 'VMs', unit: 'count' },
        { name: 'completed', heading: 'Completed', unit: 'count' },
        { name: 'not_completed', heading: 'Not completed', unit: 'count' },
        { name: 'unfinished', heading: 'Unfinished', unit: 'count' },
        { name: 'retried', heading: 'Tried again', unit: 'count' },
        { name: 'finished_at', heading: 'Finished', unit: 'time' },
        { name: 'wall_time', heading: 'Wall time', unit: 'text' },
        { name: 'time_zone', heading: 'Time zone', unit: 'text' },
        { name: 'occurrence_id', heading: 'Run', unit: 'id' },
        { name: 'policy_id', heading: 'Policy id', unit: 'id' },
      ],
    },
    {
      name: 'failures',
      heading: 'Failed backups, also those that were started by hand',
      columns: [
        { name: 'failed_at', heading: 'Failed', unit: 'time' },
        { name: 'vm', heading: 'VM', unit: 'text' },
        { name: 'policy', heading: 'Policy', unit: 'text' },
        { name: 'due_at', heading: 'Run of', unit: 'time' },
        { name: 'attempts', heading: 'Attempts in the run', unit: 'count' },
        { name: 'outcome', heading: 'VM in the run', unit: 'text' },
        { name: 'stage', heading: 'Stage', unit: 'text' },
        { name: 'code', heading: 'Cause', unit: 'text' },
        { name: 'detail', heading: 'Detail', unit: 'text' },
        { name: 'backup_id', heading: 'Backup', unit: 'id' },
        { name: 'occurrence_id', heading: 'Run', unit: 'id' },
        { name: 'vm_id', heading: 'VM id', unit: 'id' },
      ],
    },
  ],
} as const satisfies ReportDefinition;

/** A run of the period, and how the backups of its VMs ended. */
export interface RunFacts {
  readonly occurrence_id: string;
  readonly policy_id: string;
  readonly policy_name: string;
  readonly policy_version: number;
  readonly trigger: 'schedule' | 'manual';
  readonly due_at: string;
  readonly wall_time: string;
  readonly time_zone: string;
  readonly outcome: 'started' | 'caught_up' | 'skipped' | 'missed';
  readonly reason: string | null;
  readonly detail: string | null;
  readonly finished_at: string | null;
  readonly vms: number;
  readonly completed: number;
  readonly not_completed: number;
  readonly retried: number;
}

/** A VM whose backup in a run did not complete, or not in the first attempt. */
export interface TroubledVm {
  readonly occurrence_id: string;
  readonly policy_id: string;
  readonly policy_name: string;
  readonly due_at: string;
  /** Of the run. */
  readonly begun_at: string;
  /** null: not yet. */
  readonly finished_at: string | null;
  readonly vm_id: string;
  readonly vm_name: string;
  /** The newest one; from 1. */
  readonly attempt: number;
  readonly status: string;
  readonly start_at: string;
  readonly code: string | null;
  readonly detail: string | null;
}

export interface FailedBackup {
  readonly backup_id: string;
  readonly vm_id: string;
  readonly vm_name: string;
  readonly policy_id: string | null;
  /** null: it was deleted. */
  readonly policy_name: string | null;
  readonly created_at: string;
  readonly failed_at: string;
  readonly code: string;
  readonly stage: string;
  readonly detail: string;
}

export interface RunsFacts {
  readonly runs: readonly RunFacts[];
  readonly troubled: readonly TroubledVm[];
  readonly failed: readonly FailedBackup[];
}

/** The runs of a period, and all failed backups with their causes. */
export function runsReport({ runs, troubled, failed }: RunsFacts, { from, until }: { readonly from: string; readonly until: string }): ReportContent {
  const failures = failureRows(troubled, failed, ({ start_at }) => start_at >= from && start_at < until);
  const count = (outcome: RunFacts['outcome']): number => runs.filter((run) => run.outcome === outcome).length;
  const sum = (of: (run: RunFacts) => number): number => runs.reduce((total, run) => total + of(run), 0);
  const totals = {
    runs: runs.length,
    started: count('started'),
    caught_up: count('caught_up'),
    skipped: count('skipped'),
    missed: count('missed'),
    vms: sum(({ vms }) => vms),
    completed: sum(({ completed }) => completed),
    not_completed: sum(({ not_completed }) => not_completed),
    unfinished: sum(unfinished),
    retried: sum(({ retried }) => retried),
    failures: failures.length,
  };
  const rows = runs.map((run): ReportRow => {
    const { policy_name, ...values } = run;
    return { ...values, policy: policy_name, unfinished: unfinished(run) };
  });
  return { totals, tables: { runs: rows.toSorted(byText(textOf('due_at'), textOf('occurrence_id'))), failures } };
}

function unfinished({ vms, completed, not_completed }: RunFacts): number {
  return vms - completed - not_completed;
}

/** A failed backup of a policy belongs to the run during which it was requested. Refused requests have made no backup. */
function failureRows(troubled: readonly TroubledVm[], failed: readonly FailedBackup[], isInPeriod: (vm: TroubledVm) => boolean): readonly ReportRow[] {
  const runsOf = new Map<string, TroubledVm[]>();
  for (const vm of troubled) {
    const key = `${vm.policy_id} ${vm.vm_id}`;
    runsOf.set(key, [...(runsOf.get(key) ?? []), vm]);
  }
  const rows = failed.map(({ backup_id, vm_id, vm_name, policy_id, policy_name, created_at, failed_at, code, stage, detail }): ReportRow => {
    const of = policy_id === null ? [] : (runsOf.get(`${policy_id} ${vm_id}`) ?? []);
    const run = of.find(({ begun_at, finished_at }) => begun_at <= created_at && (finished_at === null || created_at < finished_at));
    const backup = { failed_at, vm: vm_name, stage, code, detail, backup_id, vm_id };
    return run === undefined
      ? { ...backup, policy: policy_name ?? policy_id, due_at: null, attempts: null, outcome: null, occurrence_id: null }
      : { ...backup, ...runOf(run) };
  });
  const refused = troubled
    .filter((vm) => vm.status === 'refused' && isInPeriod(vm))
    .map((vm): ReportRow => {
      const { start_at, vm_name, vm_id, code, detail } = vm;
      return { failed_at: start_at, vm: vm_name, stage: null, code, detail, backup_id: null, vm_id, ...runOf(vm) };
    });
  return [...rows, ...refused].toSorted(byText(textOf('failed_at'), textOf('vm_id'), textOf('backup_id'), textOf('occurrence_id')));
}

function runOf({ policy_name, due_at, attempt, status, occurrence_id }: TroubledVm): ReportRow {
  return { policy: policy_name, due_at, attempts: attempt, outcome: status, occurrence_id };
}

function textOf(name: string): (row: ReportRow) => string {
  return (row) => String(row[name] ?? '');
}
