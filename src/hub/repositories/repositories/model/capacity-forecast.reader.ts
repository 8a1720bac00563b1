import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { FORECAST_DAYS, forecastOf, type NoForecast } from './capacity-forecast.plan.js';

/** Those that the forecast goes by: the newest of each day. */
const MEASURED = `
  select distinct on (repository_id, floor(extract(epoch from measured_at) / 86400)) repository_id, total_bytes::float8, free_bytes::float8, measured_at
    from capacity_measurements
   where measured_at > (select max(measured_at) from capacity_measurements newest where newest.repository_id = capacity_measurements.repository_id)
                       - make_interval(days => ${FORECAST_DAYS})
   order by repository_id, floor(extract(epoch from measured_at) / 86400), measured_at desc, measured_position desc`;

interface Measured {
  readonly repository_id: string;
  readonly total_bytes: number;
  readonly free_bytes: number;
  readonly measured_at: Date;
}

/** The space of a repository as measured last. */
export interface RepositorySpace {
  readonly total_bytes: number;
  readonly free_bytes: number;
  readonly measured_at: string;
  /** A date in UTC; null: see reason. */
  readonly full_on: string | null;
  readonly reason: NoForecast | null;
}

/** Reads the space of all repositories, and when they are full. */
@Injectable()
export class CapacityForecastReader {
  constructor(private readonly dataSource: DataSource) {}

  /** By repository, as of the instant of the request; none: it was never measured. */
  async all(): Promise<ReadonlyMap<string, RepositorySpace>> {
    const rows = (await this.dataSource.query<Measured[]>(MEASURED)).map((row) => ({ ...row, measured_at: row.measured_at.toISOString() }));
    const spaces = new Map<string, RepositorySpace>();
    for (const [id, measured] of Map.groupBy(rows, ({ repository_id }) => repository_id)) {
      const newest = measured.at(-1);
      if (newest === undefined) continue;
      const { total_bytes, free_bytes, measured_at } = newest;
      const { full_on, reason } = forecastOf(measured);
      spaces.set(id, { total_bytes, free_bytes, measured_at, full_on, reason });
    }
    return spaces;
  }
}
