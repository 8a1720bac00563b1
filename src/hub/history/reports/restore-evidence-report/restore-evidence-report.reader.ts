import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import type { Evidence, RestoreEvidenceFacts } from './restore-evidence-report.plan.js';

/** Also VMs that were removed, or were never registered with this hub, as long as they have restore points. */
const VMS = `
  select vm_id, coalesce(vms.name, points.name) as name, coalesce(points.restore_points, 0) as restore_points
    from (select vm_id, name from vms) vms
    full join (select vm_id, (array_agg(vm_name order by created_position desc))[1] as name, count(*)::int as restore_points
                 from backups where status = 'completed' group by vm_id) points using (vm_id)`;
const VERIFIED = `
  select distinct on (vm_id) vm_id, verification_id as id, ended_at as at from verifications where status = 'passed' order by vm_id, ended_at desc, verification_id`;
const BOOTED = `
  select distinct on (vm_id) vm_id, verification_id as id, ended_at as at
    from verifications where boot ->> 'status' = 'booted' and ended_at is not null order by vm_id, ended_at desc, verification_id`;
/** A disk that was restored from damaged files proves nothing. */
const RESTORED = `
  select distinct on (vm_id) vm_id, job_id as id, ended_at as at, kind
    from restore_jobs where status = 'completed' and jsonb_array_length(damaged_sources) = 0 order by vm_id, ended_at desc, job_id`;
const FAILED = `
  select distinct on (vm_id) vm_id, at, what, detail from (
      select vm_id, ended_at as at, case when jsonb_array_length(findings) > 0 then findings -> 0 ->> 'code' else 'not_booted' end as what,
             coalesce(findings -> 0 ->> 'detail', boot ->> 'detail', '') as detail, verification_id as id
        from verifications where status = 'failed'
      union all
      select vm_id, ended_at, error ->> 'code', error ->> 'detail', job_id from restore_jobs where status = 'failed') failures
   order by vm_id, at desc, id`;
/** Whole files and folders whose download reached its end. */
const DOWNLOADED = `
  select vm_id, max(ended.time) as at
    from audit_events ended
    join audit_events accessed on accessed.stream = ended.stream and accessed.type = 'RestorePointAccessed' and accessed.data ->> 'access_id' = ended.data ->> 'access_id'
    join backups on backup_id = accessed.data ->> 'backup_id'
   where ended.type = 'RestorePointAccessEnded' and ended.data ->> 'outcome' = 'completed'
     and accessed.data ->> 'operation' in ('download', 'download_directory') and accessed.data -> 'options' ->> 'range' is null
   group by vm_id`;

interface Found {
  readonly vm_id: string;
  readonly id: string;
  readonly at: Date;
}

/** Reads what has shown that VMs can be restored: a fixed number of queries, however many VMs there are. */
@Injectable()
export class RestoreEvidenceReportReader {
  constructor(private readonly dataSource: DataSource) {}

  async read(): Promise<RestoreEvidenceFacts> {
    const vms = await this.dataSource.query<RestoreEvidenceFacts['vms']>(VMS);
    const verified = await this.dataSource.query<Found[]>(VERIFIED);
    const booted = await this.dataSource.query<Found[]>(BOOTED);
    const restored = await this.dataSource.query<(Found & { readonly kind: 'disks' | 'vm' })[]>(RESTORED);
    const failed = await this.dataSource.query<{ readonly vm_id: string; readonly at: Date; readonly what: string; readonly detail: string }[]>(FAILED);
    const downloads = await this.dataSource.query<{ readonly vm_id: string; readonly at: Date }[]>(DOWNLOADED);
    return {
      vms,
      verified: byVm(verified, evidenceOf),
      booted: byVm(booted, evidenceOf),
      restored: byVm(restored, (row) => ({ ...evidenceOf(row), kind: row.kind })),
      failed: byVm(failed, ({ at, what, detail }) => ({ at: at.toISOString(), what, detail })),
      filesDownloaded: byVm(downloads, ({ at }) => at.toISOString()),
    };
  }
}

function evidenceOf({ id, at }: Found): Evidence {
  return { id, at: at.toISOString() };
}

function byVm<Row extends { readonly vm_id: string }, Value>(rows: readonly Row[], valueOf: (row: Row) => Value): ReadonlyMap<string, Value> {
  return new Map(rows.map((row) => [row.vm_id, valueOf(row)]));
}
