import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { readAsOf } from '../../../store/postgres/as-of.js';
import { PastInstants } from '../../../store/postgres/past-instants.js';
import type { Period } from '../model/period.plan.js';
import { CapacityForecastReader } from '../../../repositories/repositories/model/capacity-forecast.reader.js';
import type { CapacityFacts, StoredVm } from './capacity-report.plan.js';

/** Files count from their sealing to their removal: also those of a deleted restore point that are still there. */
const STORED = `
  select vm_id, repository_id, (array_agg(vm_name order by created_position desc))[1] as vm, (count(*) filter (where status = 'completed'))::int as restore_points,
         sum(bytes)::float8 as size_bytes
    from backups
   cross join lateral (select coalesce(sum((file ->> 'size_bytes')::bigint), 0) as bytes from jsonb_array_elements(files) file) sealed
   where files is not null and not files_removed and not undone
   group by vm_id, repository_id`;

/** Reads what the files of restore points use, when a period begins and when it ends. */
@Injectable()
export class CapacityReportReader {
  constructor(
    private readonly dataSource: DataSource,
    private readonly instants: PastInstants,
    private readonly forecasts: CapacityForecastReader,
  ) {}

  /** As of the instant of the request. @throws as `PastInstants.atTime` */
  async read({ from, until }: Period): Promise<CapacityFacts> {
    const begin = await this.at(from, () => this.stored());
    return this.at(until, async () => {
      const repositories = await this.dataSource.getRepository(RepositoryReadModel).find();
      const [end, spaces] = [await this.stored(), await this.forecasts.all()];
      return { begin, end, spaces, repositories: new Map(repositories.map(({ repository_id, name }) => [repository_id, name])) };
    });
  }

  private async at<Result>(time: string, read: () => Promise<Result>): Promise<Result> {
    const instant = await this.instants.atTime(time);
    if (instant === null) throw new Error('the period must not be in the future');
    return readAsOf(instant, read);
  }

  private stored(): Promise<readonly StoredVm[]> {
    return this.dataSource.query<StoredVm[]>(STORED);
  }
}
