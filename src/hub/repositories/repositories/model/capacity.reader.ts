import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { RepositoryCapacityReadModel } from '../../../../../projections/repository-capacity/repository-capacity.read-model.js';
import { type CapacityResponse, toCapacityResponse } from './capacity.response.js';

@Injectable()
export class CapacityReader {
  constructor(private readonly dataSource: DataSource) {}

  async of(repository_id: string): Promise<CapacityResponse | null> {
    return toCapacityResponse(await this.dataSource.getRepository(RepositoryCapacityReadModel).findOneBy({ repository_id }));
  }

  /** By repository. There are few. */
  async all(): Promise<ReadonlyMap<string, CapacityResponse | null>> {
    const rows = await this.dataSource.getRepository(RepositoryCapacityReadModel).find();
    return new Map(rows.map((row) => [row.repository_id, toCapacityResponse(row)]));
  }
}
