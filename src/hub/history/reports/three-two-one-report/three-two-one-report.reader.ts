import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { RepositoryPlaceReadModel } from '../../../../../projections/repository-places/repository-places.read-model.js';
import { RepositoryReadModel } from '../../../../../projections/repositories/repositories.read-model.js';
import { VmReadModel } from '../../../../../projections/vms/vms.read-model.js';
import type { HeldPoint, ThreeTwoOneFacts, ThreeTwoOneParameters } from './three-two-one-report.plan.js';

const HOUR_MS = 3_600_000;

/** A copy is good if it and all that it depends on in its repository are undamaged. One of a deleted restore point counts too. */
const HELD = `
  with recursive recent as (
    select backup_id, vm_id, repository_id, status = 'completed' and damage is null as good, least(instant, completed_at) as instant
      from backups where status in ('completed', 'deleted') and least(instant, completed_at) > $1 and least(instant, completed_at) <= $2),
  standing as (
    select backup_id, repository_id, parent_backup_id, damage is null as good
      from copies where status = 'completed' and vm_id in (select vm_id from recent)),
  lineage as (
    select standing.* from standing join recent using (backup_id)
    union all
    select lineage.backup_id, lineage.repository_id, parent.parent_backup_id, parent.good
      from lineage join standing parent on parent.repository_id = lineage.repository_id and parent.backup_id = lineage.parent_backup_id),
  place as (
    select backup_id, repository_id, 1 as copied from lineage group by 1, 2 having bool_and(good)
    union all
    select backup_id, repository_id, 0 from recent where good)
  select vm_id, backup_id, instant, array_agg(place.repository_id order by copied, place.repository_id) as repository_ids
    from recent join place using (backup_id) group by 1, 2, 3`;

/** Reads which repositories hold the restore points of all VMs: a fixed number of queries, however many VMs there are. */
@Injectable()
export class ThreeTwoOneReportReader {
  constructor(private readonly dataSource: DataSource) {}

  async read({ at, within_hours }: ThreeTwoOneParameters): Promise<ThreeTwoOneFacts> {
    const since = new Date(Date.parse(at) - Number(within_hours) * HOUR_MS);
    const points = await this.dataSource.query<(Omit<HeldPoint, 'instant'> & { readonly instant: Date })[]>(HELD, [since, new Date(at)]);
    const places = await this.dataSource.getRepository(RepositoryPlaceReadModel).find();
    const repositories = await this.dataSource.getRepository(RepositoryReadModel).find();
    return {
      vms: await this.dataSource.getRepository(VmReadModel).find(),
      points: points.map((point) => ({ ...point, instant: point.instant.toISOString() })),
      repositories: new Map(
        repositories.map(({ repository_id, name }) => [repository_id, { name, place: places.find((each) => each.repository_id === repository_id) ?? null }]),
      ),
    };
  }
}
