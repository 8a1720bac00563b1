import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { validationProblem } from '../../../../lib/http/problem.js';
import type { Period } from '../model/period.plan.js';
import type { FailedBackup, RunFacts, RunsFacts, TroubledVm } from './runs-report.plan.js';

/** Rows of each table of the report. */
const MAX_ROWS = 20_000;
/** Runs per query: each may have as many VMs as there are. */
const BATCH = 100;
/** A backup may fail in the period whose run was due before it. */
const RUN_MS = 2 * 86_400_000;

const RUNS = `
  select occurrence_id, policy_id, policy_name, policy_version, trigger, due_at, wall_time, time_zone, outcome, reason, detail, finished_at,
         counted.*
    from policy_occurrences run
   cross join lateral (
      select count(*)::int as vms,
             count(*) filter (where status = 'completed')::int as completed,
             count(*) filter (where status in ('failed', 'cancelled', 'refused'))::int as not_completed,
             count(*) filter (where attempt > 1)::int as retried
        from policy_run_vms vm where vm.occurrence_id = run.occurrence_id) counted
   where due_at < $2 and (due_at, occurrence_id) > ($1::timestamptz, $3)
   order by due_at, occurrence_id limit ${BATCH}`;
const TROUBLED = `
  select run.occurrence_id, policy_id, policy_name, due_at, recorded_at as begun_at, finished_at, vm.vm_id, vm.vm_name, vm.attempt, vm.status, vm.start_at,
         vm.code, vm.detail
    from policy_occurrences run join policy_run_vms vm using (occurrence_id)
   where run.occurrence_id = any($1) and (vm.attempt > 1 or vm.status in ('failed', 'refused'))
   order by run.due_at, run.occurrence_id, vm.place`;
const FAILED = `
  select backup_id, vm_id, vm_name, policy_id, (select name from policies where policies.policy_id = backups.policy_id) as policy_name, created_at, completed_at as failed_at, error ->> 'code' as code, error ->> 'stage' as stage,
         error ->> 'detail' as detail
    from backups where status = 'failed' and completed_at >= $1 and completed_at < $2
   order by completed_at, backup_id limit ${MAX_ROWS + 1}`;

/** Times as the database gives them. */
type Stored<Row> = { readonly [Member in keyof Row]: Member extends `${string}_at` ? Date | string | Exclude<Row[Member], string> : Row[Member] };

/** Reads the runs of a period in batches, and what failed in it. */
@Injectable()
export class RunsReportReader {
  constructor(private readonly dataSource: DataSource) {}

  /** @throws HttpProblem 400 if the period has more runs or failures than a report may have */
  async read({ from, until }: Period): Promise<RunsFacts> {
    const failed = (await this.dataSource.query<Stored<FailedBackup>[]>(FAILED, [from, until])).map((row): FailedBackup => withTimes(row));
    if (failed.length > MAX_ROWS) throw tooMany('failed backups');
    const runs: RunFacts[] = [];
    const troubled: TroubledVm[] = [];
    let [dueAt, id] = [new Date(Date.parse(from) - RUN_MS).toISOString(), ''];
    for (;;) {
      const batch = (await this.dataSource.query<Stored<RunFacts>[]>(RUNS, [dueAt, until, id])).map((row): RunFacts => withTimes(row));
      runs.push(...batch.filter(({ due_at }) => due_at >= from));
      const withTrouble = batch.filter(({ retried, not_completed }) => retried + not_completed > 0).map(({ occurrence_id }) => occurrence_id);
      if (withTrouble.length > 0) {
        const found = await this.dataSource.query<Stored<TroubledVm>[]>(TROUBLED, [withTrouble]);
        for (const row of found) troubled.push(withTimes(row));
      }
      if (runs.length > MAX_ROWS) throw tooMany('runs');
      if (troubled.length > MAX_ROWS) throw tooMany('failed backups');
      const last = batch.at(-1);
      if (last === undefined || batch.length < BATCH) return { runs, troubled, failed };
      [dueAt, id] = [last.due_at, last.occurrence_id];
    }
  }
}

function tooMany(what: string): Error {
  return validationProblem([{ field: 'from', rule: 'max_rows', message: `from must be closer to until: at most ${MAX_ROWS} ${what} may lie in between` }]);
}

function withTimes<Row extends object>(row: Stored<Row>): Row {
  // The queries name the members of the row; only their times are of another type.
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value instanceof Date ? value.toISOString() : value])) as Row;
}
