import { Injectable } from '@nestjs/common';
import { DataSource, In } from 'typeorm';
import { PipelineReadModel } from '../../../../../projections/pipelines/pipelines.read-model.js';
import type { PolicyOccurrenceReadModel } from '../../../../../projections/policy-occurrences/policy-occurrences.read-model.js';
import { PolicyRunVmReadModel } from '../../../../../projections/policy-run-vms/policy-run-vms.read-model.js';
import { ReadModels } from '../../../store/postgres/read-models.js';
import { type OccurrenceResponse, toOccurrenceResponse } from './occurrence.response.js';

/** Reads what belongs to runs: their VMs, and what was checked afterwards. */
@Injectable()
export class OccurrenceReader {
  constructor(
    private readonly dataSource: DataSource,
    private readonly readModels: ReadModels,
  ) {}

  /** In the order of the rows. @throws as `ReadModels.waitFor` */
  async responsesOf(rows: readonly PolicyOccurrenceReadModel[]): Promise<OccurrenceResponse[]> {
    // A run that has finished must not be shown with VMs that have not.
    for (const { position } of rows) await this.readModels.waitFor(position, 'policy_run_vms');
    const ofThem = { occurrence_id: In(rows.map(({ occurrence_id }) => occurrence_id)) };
    const vms = await this.dataSource.getRepository(PolicyRunVmReadModel).find({ where: ofThem, order: { place: 'ASC' } });
    const pipelines = await this.dataSource.getRepository(PipelineReadModel).findBy(ofThem);
    const vmsOf = Map.groupBy(vms, ({ occurrence_id }) => occurrence_id);
    return rows.map((row) => toOccurrenceResponse(row, vmsOf.get(row.occurrence_id) ?? [], pipelines));
  }
}
